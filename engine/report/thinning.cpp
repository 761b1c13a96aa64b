#include "engine/report/thinning.h"

#include <algorithm>
#include <cmath>

#include "engine/report/ink.h"

namespace sculpt {

std::vector<Point> thinned(const std::vector<Point>& line, size_t columns) {
  if (columns == 0 || line.size() <= 4 * columns) return line;
  const auto [low, high] = std::minmax_element(
      line.begin(), line.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  const double width = std::max(high->x - low->x, 1e-300) / static_cast<double>(columns);
  const auto column_of = [&, left = low->x](const Point& point) {
    return std::min(columns - 1, static_cast<size_t>((point.x - left) / width));
  };
  std::vector<Point> kept;
  for (size_t begin = 0; begin < line.size();) {
    size_t end = begin + 1, lowest = begin, highest = begin;
    while (end < line.size() && column_of(line[end]) == column_of(line[begin])) {
      if (line[end].y < line[lowest].y) lowest = end;
      if (line[end].y > line[highest].y) highest = end;
      ++end;
    }
    std::vector<size_t> chosen = {begin, lowest, highest, end - 1};
    std::ranges::sort(chosen);
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    for (const size_t i : chosen)
      kept.push_back(line[i]);
    begin = end;
  }
  return kept;
}

std::vector<Point> sampled(const std::vector<Point>& line, size_t most) {
  if (line.size() <= most) return line;
  std::vector<Point> kept;
  for (size_t i = 0; i < most; ++i)
    kept.push_back(line[i * (line.size() - 1) / (most - 1)]);
  return kept;
}

std::string path_of(const std::vector<Point>& line, bool steps) {
  std::string path;
  // Positions are rounded before they are subtracted, so that rounding errors do not add up.
  const auto rounded = [](double value) { return std::round(value * 10) / 10; };
  const auto second = [](const std::string& number) {
    return number.starts_with('-') ? number : " " + number;
  };
  for (size_t i = 0; i < line.size(); ++i) {
    const double x = rounded(line[i].x), y = rounded(line[i].y);
    if (i == 0) {
      path += "M" + coordinate(x) + second(coordinate(y));
      if (line.size() == 1) path += "h0";
      continue;
    }
    const double dx = x - rounded(line[i - 1].x), dy = y - rounded(line[i - 1].y);
    if (steps)
      path += "h" + coordinate(dx) + (std::abs(dy) < 0.05 ? "" : "v" + coordinate(dy));
    else
      path += "l" + coordinate(dx) + second(coordinate(dy));
  }
  return path;
}

}  // namespace sculpt
