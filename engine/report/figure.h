#pragma once
// Figures and tables as data: what is shown, and not how it is drawn. Whoever computes something
// fills these structs. The report draws them (SVG), writes their numbers (CSV) and sets their
// tables (HTML, LaTeX).

#include <cstdint>
#include <string>
#include <vector>

namespace sculpt {

struct Axis {
  std::string label;      ///< with its unit: "test accuracy (%)"
  bool log = false;       ///< logarithmic scale; values must be positive
  bool reversed = false;  ///< small values on the right
  /// Names at the places 1, 2, ... of an axis, from the top or from the left; empty for an axis of
  /// numbers. One axis of a figure may have names, and a spread is one along the other axis.
  std::vector<std::string> categories = {};
};

/// The way in which a series is drawn.
enum class Mark { line, points, line_and_points, steps };

struct Series {
  std::string name;  ///< in the legend; "" keeps the series out of the legend
  Mark mark = Mark::line;
  std::vector<double> x;
  /// The values at x, one for each. A value that is not a number leaves a gap.
  std::vector<double> y;
  /// Half of the length of an error bar, or of the height of a band where the series is a line;
  /// empty, or as long as x.
  std::vector<double> spread = {};
  /// Labels of single points, shown when a pointer rests on them; empty, or as long as x.
  std::vector<std::string> labels = {};
  /// Series with the same group have the same colour, such as a mean and its single runs; -1 gives
  /// the series a colour of its own.
  int64_t group = -1;
  /// Drawn paler, behind the others: single runs behind their mean.
  bool pale = false;
};

/// A vertical line with a short label, such as the beginning of a cycle.
struct Boundary {
  double x = 0;
  std::string label;
};

struct Figure {
  std::string name;   ///< part of file names: lower case, digits and hyphens
  std::string title;  ///< above the figure
  std::string
      caption;  ///< whole sentences under the figure: what is shown, and how it was computed
  Axis x, y;
  std::vector<Series> series;
  std::vector<Boundary> boundaries = {};
};

/// A value for each point of a grid, such as a loss surface.
struct HeatMap {
  std::string name, title, caption;
  Axis x, y;
  std::string value_label;
  std::vector<double> xs, ys;
  std::vector<double> values;  ///< row by row: values[y * xs.size() + x]
  bool log = false;            ///< colours follow the logarithm; values must be positive
};

struct Table {
  std::string name, title, caption;
  std::vector<std::string> columns;
  /// Each row has one text per column. Columns that hold numbers only are aligned to the right.
  std::vector<std::vector<std::string>> rows;
  /// The columns and rows that a CSV file has instead of those above, if the texts above are
  /// rounded: its numbers have all digits, and missing values are empty texts. One column above may
  /// be several columns here, such as a mean and its deviation. table_cells.h fills these members.
  std::vector<std::string> csv_columns = {};
  std::vector<std::vector<std::string>> csv_rows = {};
  /// Paths from the page to which the first cells of the rows lead, "" for none; empty, or one for
  /// each row. Files of analyses have no links.
  std::vector<std::string> links = {};
};

}  // namespace sculpt
