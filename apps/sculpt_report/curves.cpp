#include "apps/sculpt_report/curves.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fmt/format.h>

#include "engine/report/scale.h"
#include "engine/report/ticks.h"

namespace sculpt {
namespace {

constexpr size_t kLabel = 9;  // columns of the numbers at the left
constexpr size_t kDotsX = 2, kDotsY = 4;
constexpr const char* kColours[] = {"\033[34m", "\033[33m"};
constexpr const char* kDefault = "\033[0m";

/// The dots of one curve.
class Canvas {
 public:
  Canvas(size_t columns, size_t rows) : columns_(columns), rows_(rows), cells_(columns * rows, 0) {}

  size_t width() const { return columns_ * kDotsX; }
  size_t height() const { return rows_ * kDotsY; }
  uint8_t cell(size_t column, size_t row) const { return cells_[row * columns_ + column]; }

  void dot(int64_t x, int64_t y) {
    if (x < 0 || y < 0 || x >= static_cast<int64_t>(width()) || y >= static_cast<int64_t>(height()))
      return;
    // Bits of braille characters: the left column is 1, 2, 3 and 7, the right one 4, 5, 6 and 8.
    static constexpr uint8_t kBits[kDotsY][kDotsX] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    const auto column = static_cast<size_t>(x), row = static_cast<size_t>(y);
    cells_[row / kDotsY * columns_ + column / kDotsX] |= kBits[row % kDotsY][column % kDotsX];
  }

  void line(double x0, double y0, double x1, double y1) {
    const auto steps =
        static_cast<int64_t>(std::ceil(std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1.0})));
    for (int64_t i = 0; i <= steps; ++i) {
      const double part = static_cast<double>(i) / static_cast<double>(steps);
      dot(std::llround(x0 + part * (x1 - x0)), std::llround(y0 + part * (y1 - y0)));
    }
  }

 private:
  size_t columns_, rows_;
  std::vector<uint8_t> cells_;
};

std::string braille(uint8_t dots) {
  // U+2800 + dots in UTF-8.
  return {static_cast<char>(0xE2), static_cast<char>(0xA0 | dots >> 6),
          static_cast<char>(0x80 | (dots & 0x3f))};
}

/// Returns the character of a curve in a cell: braille dots, or letters where curves could not be
/// told apart by their colours.
std::string character(size_t curve, uint8_t dots, const CurveStyle& style) {
  const bool letters = !style.utf8 || (!style.colours && curve == 1);
  if (!letters) return braille(dots);
  return curve == 1 ? "o" : ".";
}

std::string painted(size_t curve, const std::string& text, const CurveStyle& style) {
  return style.colours ? kColours[curve % 2] + text + kDefault : text;
}

std::string fit_right(const std::string& text, size_t width) {
  const size_t columns = columns_of(text);
  return columns >= width ? text : std::string(width - columns, ' ') + text;
}

std::string fit_left(const std::string& text, size_t width) {
  const size_t columns = columns_of(text);
  return columns >= width ? text : text + std::string(width - columns, ' ');
}

void draw(Canvas& canvas, const Curve& curve, const Scale& x, const Scale& y) {
  bool first = true;
  double before_x = 0, before_y = 0;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    if (!std::isfinite(curve.x[i]) || !std::isfinite(curve.y[i])) continue;
    const double px = x(curve.x[i]), py = y(curve.y[i]);
    canvas.line(first ? px : before_x, first ? py : before_y, px, py);
    before_x = px, before_y = py;
    first = false;
  }
}

std::string heading(const Chart& chart, size_t width, const CurveStyle& style) {
  std::string text = chart.title;
  for (size_t i = 0; i < chart.curves.size(); ++i) {
    const std::string sample = i == 0 ? character(0, 0x24, style) + character(0, 0x24, style)
                                      : character(1, 0x24, style) + character(1, 0x24, style);
    const std::string entry = "  " + sample + " " + chart.curves[i].name;
    if (columns_of(text) + columns_of(entry) > width) break;
    text += "  " + painted(i, sample, style) + " " + chart.curves[i].name;
  }
  return fit_left(text, width);
}

std::string axis_line(const Chart& chart, const Scale& x, size_t columns, const CurveStyle& style) {
  std::vector<std::string> cells(columns, style.utf8 ? "\u2500" : "-");
  for (const double mark : chart.marks) {
    const auto at = static_cast<int64_t>(std::llround(x(mark) / kDotsX));
    if (at >= 0 && at < static_cast<int64_t>(columns))
      cells[static_cast<size_t>(at)] = style.utf8 ? "\u2534" : "+";
  }
  std::string text = std::string(kLabel, ' ') + (style.utf8 ? "\u2514" : "+");
  for (const std::string& cell : cells)
    text += cell;
  return text;
}

std::string axis_numbers(const Range& range, size_t columns) {
  const std::string low = number_text(range.low), high = number_text(range.high);
  const size_t used = columns_of(low) + columns_of(high);
  if (range.empty || used + 1 > columns) return std::string(kLabel + 1 + columns, ' ');
  return std::string(kLabel + 1, ' ') + low + std::string(columns - used, ' ') + high;
}

}  // namespace

size_t columns_of(const std::string& text) {
  size_t columns = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      i = std::min(text.find('m', i), text.size());
      continue;
    }
    columns += (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80 ? 1 : 0;
  }
  return columns;
}

std::vector<std::string> draw_chart(const Chart& chart, size_t width, size_t height,
                                    const CurveStyle& style) {
  if (height < 5 || width < 24) return std::vector<std::string>(height, std::string(width, ' '));
  const size_t columns = width - kLabel - 1, rows = height - 3;
  Range xs, ys;
  for (const Curve& curve : chart.curves)
    for (size_t i = 0; i < curve.x.size(); ++i)
      if (std::isfinite(curve.y[i])) xs.add(curve.x[i]), ys.add(curve.y[i]);
  const Scale x({}, xs, 0, 0, static_cast<double>(columns * kDotsX - 1));
  const Scale y({}, ys, 0.04, static_cast<double>(rows * kDotsY - 1), 0);
  std::vector<Canvas> canvases;
  for (const Curve& curve : chart.curves) {
    canvases.emplace_back(columns, rows);
    draw(canvases.back(), curve, x, y);
  }
  std::vector<std::string> labels(rows);
  const Ticks ticks = y.ticks(std::max<size_t>(2, rows / 4));
  for (size_t i = 0; i < ticks.values.size(); ++i)
    labels[std::min(rows - 1, static_cast<size_t>(y(ticks.values[i]) / kDotsY))] = ticks.labels[i];
  std::vector<std::string> lines = {heading(chart, width, style)};
  for (size_t row = 0; row < rows; ++row) {
    std::string line = fit_right(labels[row], kLabel) + (style.utf8 ? "\u2502" : "|");
    for (size_t column = 0; column < columns; ++column) {
      // The later curve lies in front.
      size_t shown = canvases.size();
      for (size_t i = 0; i < canvases.size(); ++i)
        if (canvases[i].cell(column, row) != 0) shown = i;
      line +=
          shown == canvases.size()
              ? " "
              : painted(shown, character(shown, canvases[shown].cell(column, row), style), style);
    }
    lines.push_back(std::move(line));
  }
  lines.push_back(axis_line(chart, x, columns, style));
  lines.push_back(axis_numbers(xs, columns));
  return lines;
}

}  // namespace sculpt
