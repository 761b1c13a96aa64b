#pragma once
// Lays text out for a given number of columns.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace sculpt {

/// Breaks each line of `text` at spaces so that it has at most `width` columns. Continued lines
/// begin with `indent` more spaces than their first line. A word longer than a line is not broken.
std::string wrap(const std::string& text, size_t width, size_t indent = 0);

/// Joins `fields` with two spaces, and starts a new line, indented by two, when `width` is reached.
std::string join_fields(const std::vector<std::string>& fields, size_t width);

/// Returns at most `width` columns. The middle of a longer text is replaced by "..".
std::string shorten(const std::string& text, size_t width);

/// Returns a text such as "1.5 M", "12" or "3.20 G".
std::string count_text(double n);
/// Returns a text such as "1 epoch" or "2 epochs".
std::string counted(long long n, std::string_view noun);
/// Returns a text such as "1,234,567".
std::string grouped(long long n);

/// Rows of cells in columns two spaces apart.
class TextTable {
 public:
  /// Says what happens to cells if the table is too wide.
  enum class Fit { keep, shorten, wrap };
  struct Column {
    std::string heading;
    bool right = true;  ///< true: right-aligned, so that numbers end in one column
    Fit fit = Fit::keep;
  };

  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Adds a row with one cell for each column.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  std::string heading(size_t width) const;
  /// Returns the rows without the heading.
  std::string body(size_t width) const;

 private:
  std::vector<size_t> widths(size_t width) const;
  std::string line(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sculpt
