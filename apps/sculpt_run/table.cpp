#include "apps/sculpt_run/table.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <sstream>

namespace sculpt {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kLeastColumn = 12;  // least width of a shortened or wrapped column

/// Breaks one line that contains no line break.
void wrap_line(const std::string& line, size_t width, size_t indent, std::string& text) {
  const size_t own = std::min(line.find_first_not_of(' '), line.size());
  std::string row = line.substr(0, own);
  size_t begin = own;
  bool has_word = false;
  while (begin < line.size()) {
    size_t end = line.find(' ', begin);
    // Spaces between words are kept where the words stay on one line.
    const size_t word_end = std::min(end, line.size());
    const size_t next = end == std::string::npos
                            ? line.size()
                            : std::min(line.find_first_not_of(' ', end), line.size());
    if (has_word && row.size() + word_end - begin > width) {
      row.erase(row.find_last_not_of(' ') + 1);
      text += row + "\n";
      row = std::string(own + indent, ' ');
    }
    row += line.substr(begin, next - begin);
    has_word = true;
    begin = next;
  }
  row.erase(row.find_last_not_of(' ') + 1);
  text += row;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

}  // namespace

std::string wrap(const std::string& text, size_t width, size_t indent) {
  std::string wrapped;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = text.find('\n', begin);
    wrap_line(text.substr(begin, end - begin), width, indent, wrapped);
    if (end == std::string::npos) break;
    wrapped += "\n";
    begin = end + 1;
  }
  return wrapped;
}

std::string join_fields(const std::vector<std::string>& fields, size_t width) {
  std::string text;
  size_t column = 0;
  for (const std::string& field : fields) {
    if (field.empty()) continue;
    const bool fits = column == 0 || column + kGap + field.size() <= width;
    if (column > 0) text += fits ? "" : "\n";
    if (column > 0) text += "  ";
    column = (fits ? column : 0) + (column > 0 ? kGap : 0) + field.size();
    text += field;
  }
  return text;
}

std::string shorten(const std::string& text, size_t width) {
  if (text.size() <= width) return text;
  if (width <= 4) return text.substr(0, width);
  const size_t tail = (width - 2) / 2, head = width - 2 - tail;
  return text.substr(0, head) + ".." + text.substr(text.size() - tail);
}

std::string count_text(double n) {
  const char* const units[] = {"", " k", " M", " G", " T", " P", " E"};
  size_t unit = 0;
  while (n >= 1000 && unit + 1 < std::size(units)) {
    n /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f}{}", n, unit == 0 ? 0 : 2, units[unit]);
}

std::string grouped(long long n) {
  std::string text = std::to_string(n);
  for (size_t end = text.size(); end > (n < 0 ? 4u : 3u); end -= 3)
    text.insert(end - 3, ",");
  return text;
}

std::string counted(long long n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::vector<size_t> TextTable::widths(size_t width) const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t widest = columns_[c].heading.size();
    for (const auto& row : rows_)
      widest = std::max(widest, row[c].size());
    widths.push_back(widest);
  }
  const size_t all = std::accumulate(widths.begin(), widths.end(), kGap * (columns_.size() - 1));
  size_t excess = all > width ? all - width : 0;
  for (size_t c = 0; c < columns_.size() && excess > 0; ++c) {
    if (columns_[c].fit == Fit::keep || widths[c] <= kLeastColumn) continue;
    const size_t less = std::min(excess, widths[c] - kLeastColumn);
    widths[c] -= less;
    excess -= less;
  }
  return widths;
}

std::string TextTable::line(const std::vector<std::string>& cells,
                            const std::vector<size_t>& widths) const {
  std::vector<std::vector<std::string>> parts;
  size_t height = 1;
  for (size_t c = 0; c < cells.size(); ++c) {
    parts.push_back(columns_[c].fit == Fit::wrap
                        ? lines_of(wrap(cells[c], widths[c]))
                        : std::vector<std::string>{shorten(cells[c], widths[c])});
    height = std::max(height, parts.back().size());
  }
  std::string text;
  for (size_t row = 0; row < height; ++row) {
    std::string line;
    for (size_t c = 0; c < cells.size(); ++c) {
      const std::string cell = row < parts[c].size() ? parts[c][row] : "";
      const std::string space(widths[c] - std::min(widths[c], cell.size()), ' ');
      line += (c > 0 ? "  " : "") + (columns_[c].right ? space + cell : cell + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string TextTable::heading(size_t width) const {
  std::vector<std::string> cells;
  for (const Column& column : columns_)
    cells.push_back(column.heading);
  return line(cells, widths(width));
}

std::string TextTable::body(size_t width) const {
  const std::vector<size_t> fitted = widths(width);
  std::string text;
  for (const auto& row : rows_)
    text += line(row, fitted);
  return text;
}

}  // namespace sculpt
