#pragma once
// Draws curves with the characters of a terminal. With braille characters, a cell has 2 x 4 dots.

#include <cstddef>
#include <string>
#include <vector>

namespace sculpt {

/// The characters and colours that the terminal can show.
struct CurveStyle {
  bool utf8 = true;     ///< false: only ASCII characters
  bool colours = true;  ///< false: curves differ in their characters alone
};

struct Curve {
  std::string name;
  std::vector<double> x, y;  ///< points that are not finite are left out
};

struct Chart {
  std::string title;
  std::vector<Curve> curves;  ///< at most two
  std::vector<double> marks;  ///< places on the x axis that are marked, such as new cycles
};

/// Returns `height` lines of `width` columns each (fewer than 5 lines, or 24 columns: blank ones).
/// The first line has the title and the names of the curves; the last one is the x axis.
std::vector<std::string> draw_chart(const Chart& chart, size_t width, size_t height,
                                    const CurveStyle& style);

/// Returns the number of columns that a text of UTF-8 and colour codes takes.
size_t columns_of(const std::string& text);

}  // namespace sculpt
