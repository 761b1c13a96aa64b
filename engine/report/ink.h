#pragma once
// Colours, dashes and markers of figures, and the attributes of SVG that carry them.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt {

/// Says where a drawing goes. In a page, elements have classes, and the page's style sheet colours
/// them for light, dark and print. A file of its own has fixed colours for white paper, as
/// attributes, because programs that convert SVG know few style sheets.
enum class SvgTarget { page, file };

/// The colours of the first series, of the second and so on, on white and on dark ground. They are
/// those of Okabe and Ito (2008, "Color Universal Design") without yellow, which is too pale for
/// lines, and with one brown more. The dark ones are lighter forms of the same hues.
struct SeriesColour {
  std::string_view light, dark;
};
inline constexpr std::array<SeriesColour, 8> kSeriesColours = {{{"#0072b2", "#4da3e0"},
                                                                {"#d55e00", "#f0894a"},
                                                                {"#009e73", "#35c79d"},
                                                                {"#b95f93", "#e29bc4"},
                                                                {"#c98700", "#efb945"},
                                                                {"#3d9bd6", "#9ad7fa"},
                                                                {"#4a4a4a", "#c9c9c9"},
                                                                {"#8a6a33", "#c2a66c"}}};

/// The parts of a drawing apart from series, which have colours of their own.
enum class Part {
  axis,    ///< axis lines and tick marks
  grid,    ///< lines behind the data
  bound,   ///< vertical lines at boundaries
  text,    ///< labels of axes and legends
  number,  ///< labels of ticks
  ground,  ///< the ground of the plot
};

/// Returns attributes, with a leading space, for a stroke or a fill in the colour of series `i`.
std::string series_stroke(SvgTarget target, size_t i);
std::string series_fill(SvgTarget target, size_t i);
/// Returns attributes, with a leading space: strokes for lines, fills for texts and the ground.
std::string part_ink(SvgTarget target, Part part);
/// Returns the rules that the classes of a page need, for light, dark and print.
std::string ink_style_sheet();

/// Returns the attribute for the dashes of series `i`, with a leading space; "" for a whole line.
std::string dashes(size_t i);

/// Returns the number, in [0, 8), of the marker of series `i`. Series that share a colour have
/// different markers.
size_t marker_of(size_t i);
/// Returns a path of the marker of series `i` around a point: "M10 10m-3 0a...".
std::string marker_path(size_t i, double x, double y, double radius);
/// Returns true if the marker is made of lines that are not closed, so that it is not filled.
bool marker_is_open(size_t i);

/// Returns about how wide a text is in a wide sans-serif font of this size. It is a little less in
/// most fonts, so texts that fit by this measure fit.
double text_width(std::string_view text, double font_size);
/// Returns the text, cut and with "…" at its end if it is wider than `width`.
std::string fitted(std::string_view text, double font_size, double width);

/// Returns the text in at most two lines, which break at a space. A line that is wider than `width`
/// is cut with "…", the first one at its end and the last one in its middle, so that the end of the
/// text stays.
std::vector<std::string> in_two_lines(std::string_view text, double font_size, double width);

/// Returns a coordinate with at most one decimal: "12.5", "-.3", "7".
std::string coordinate(double value);

/// The font of all drawings.
inline constexpr std::string_view kFont =
    "system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif";

}  // namespace sculpt
