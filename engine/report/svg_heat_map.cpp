#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "engine/report/svg.h"
#include "engine/report/svg_parts.h"

namespace sculpt {
namespace {

constexpr double kTop = 10, kBarWidth = 14, kBelowAxis = 50;
constexpr int kLevels = 64;
// Finer grids are thinned to about this many cells in each direction.
constexpr size_t kMostCells = 128;

struct Rgb {
  double red, green, blue;
};
/// Points of the colour map "viridis" of matplotlib, evenly spaced.
constexpr std::array<Rgb, 9> kViridis = {{{68, 1, 84},
                                          {71, 45, 123},
                                          {59, 82, 139},
                                          {44, 114, 142},
                                          {33, 145, 140},
                                          {40, 174, 128},
                                          {94, 201, 98},
                                          {173, 220, 48},
                                          {253, 231, 37}}};

/// Returns the colour of a level in [0, kLevels).
std::string colour(int level) {
  const double at = static_cast<double>(level) / (kLevels - 1) * (kViridis.size() - 1);
  const auto i = std::min(static_cast<size_t>(at), kViridis.size() - 2);
  const double part = at - static_cast<double>(i);
  const auto mix = [&](double a, double b) { return static_cast<int>(a + part * (b - a) + 0.5); };
  const Rgb &a = kViridis[i], &b = kViridis[i + 1];
  return fmt::format("#{:02x}{:02x}{:02x}", mix(a.red, b.red), mix(a.green, b.green),
                     mix(a.blue, b.blue));
}

/// Returns the edges of the cells around ascending or descending centres.
std::vector<double> edges(const std::vector<double>& centres, bool log) {
  const auto along = [&](double v) { return log ? std::log(v) : v; };
  const auto back = [&](double v) { return log ? std::exp(v) : v; };
  const size_t n = centres.size();
  if (n == 0) return {};
  if (n == 1) return {centres[0] - 0.5, centres[0] + 0.5};
  std::vector<double> found;
  found.push_back(back(1.5 * along(centres[0]) - 0.5 * along(centres[1])));
  for (size_t i = 1; i < n; ++i)
    found.push_back(back(0.5 * (along(centres[i - 1]) + along(centres[i]))));
  found.push_back(back(1.5 * along(centres[n - 1]) - 0.5 * along(centres[n - 2])));
  return found;
}

/// Returns the map with every k-th row and column, if it has more than can be seen.
HeatMap thinned(const HeatMap& map) {
  const size_t step_x = (map.xs.size() + kMostCells - 1) / kMostCells;
  const size_t step_y = (map.ys.size() + kMostCells - 1) / kMostCells;
  if (step_x <= 1 && step_y <= 1) return map;
  HeatMap thin = map;
  thin.xs.clear(), thin.ys.clear(), thin.values.clear();
  for (size_t x = 0; x < map.xs.size(); x += step_x)
    thin.xs.push_back(map.xs[x]);
  for (size_t y = 0; y < map.ys.size(); y += step_y) {
    thin.ys.push_back(map.ys[y]);
    for (size_t x = 0; x < map.xs.size(); x += step_x)
      thin.values.push_back(map.values[y * map.xs.size() + x]);
  }
  return thin;
}

Range range_of(const std::vector<double>& values, bool log) {
  Range range;
  for (const double value : values)
    if (!log || value > 0) range.add(value);
  return range;
}

/// Returns one path per colour. Neighbours of one colour in a row are one rectangle.
std::string cells(const HeatMap& map, const Scale& x, const Scale& y, const Scale& level) {
  const auto xs = edges(map.xs, map.x.log), ys = edges(map.ys, map.y.log);
  std::map<int, std::string> paths;
  const auto level_of = [&](size_t row, size_t column) {
    const double value = map.values[row * map.xs.size() + column];
    if (!std::isfinite(value) || (map.log && value <= 0)) return -1;
    return std::clamp(static_cast<int>(level(value) * kLevels), 0, kLevels - 1);
  };
  for (size_t row = 0; row < map.ys.size(); ++row)
    for (size_t begin = 0; begin < map.xs.size();) {
      const int of_begin = level_of(row, begin);
      size_t end = begin + 1;
      while (end < map.xs.size() && level_of(row, end) == of_begin)
        ++end;
      if (of_begin >= 0)
        paths[of_begin] += fmt::format("M{} {}H{}V{}H{}z", coordinate(x(xs[begin])),
                                       coordinate(y(ys[row])), coordinate(x(xs[end])),
                                       coordinate(y(ys[row + 1])), coordinate(x(xs[begin])));
      begin = end;
    }
  std::string text = "<g shape-rendering=\"crispEdges\">\n";
  for (const auto& [of_path, path] : paths)
    // The stroke closes the seams that printers leave between neighbours.
    text += fmt::format("<path d=\"{0}\" fill=\"{1}\" stroke=\"{1}\" stroke-width=\".4\"/>\n", path,
                        colour(of_path));
  return text + "</g>\n";
}

/// Draws the scale of the colours beside the map.
std::string colour_bar(const HeatMap& map, SvgTarget target, const PlotArea& area,
                       const Range& range) {
  const Scale scale({"", map.log}, range, 0, area.bottom, area.top);
  const double left = area.right + 12, step = area.height() / kLevels;
  std::string text = "<g shape-rendering=\"crispEdges\">\n";
  for (int i = 0; i < kLevels; ++i)
    text += fmt::format("<path d=\"M{} {}h{}v-{}h-{}z\" fill=\"{}\"/>\n", coordinate(left),
                        coordinate(area.bottom - i * step), kBarWidth, coordinate(step + 0.5),
                        kBarWidth, colour(i));
  text += "</g>\n";
  const Ticks ticks = scale.ticks(5);
  for (size_t i = 0; i < ticks.values.size(); ++i) {
    const double y = scale(ticks.values[i]);
    text += fmt::format("<path d=\"M{} {}h4\"{}/>\n", coordinate(left + kBarWidth), coordinate(y),
                        part_ink(target, Part::axis));
    text += svg_text(target, Part::number, {left + kBarWidth + 7, y + 4.2}, ticks.labels[i]);
  }
  const double x = kSvgWidth - 6, y = (area.top + area.bottom) / 2;
  const std::string turned =
      fmt::format(" transform=\"rotate(-90 {} {})\"", coordinate(x), coordinate(y));
  return text + svg_text(target, Part::text, {x, y, "middle", kLabelSize, turned},
                         fitted(map.value_label, kLabelSize, area.height() + 30));
}

}  // namespace

std::string heat_map_svg(const HeatMap& full, SvgTarget target) {
  const HeatMap map = thinned(full);
  Range xs, ys;
  for (const double x : edges(map.xs, map.x.log))
    xs.add(x);
  for (const double y : edges(map.ys, map.y.log))
    ys.add(y);
  const Range values = range_of(map.values, map.log);
  const Scale value_scale({"", map.log}, values, 0, 0, 1);
  double bar_labels = 0;
  for (const std::string& label : value_scale.ticks(5).labels)
    bar_labels = std::max(bar_labels, text_width(label, kNumberSize));
  PlotArea area;
  area.top = kTop;
  area.right = kSvgWidth - (12 + kBarWidth + 7 + bar_labels + 24);
  area.left = room_for_y_labels(map.y, Scale(map.y, ys, 0, 1, 0));
  area.bottom = area.top + std::min(area.width(), 290.0);
  const Scale x(map.x, xs, 0, area.left, area.right), y(map.y, ys, 0, area.bottom, area.top);
  return svg_head(target, area.bottom + kBelowAxis, map.title) + cells(map, x, y, value_scale) +
         svg_axes(target, area, map.x, x, map.y, y, false) + colour_bar(map, target, area, values) +
         "</svg>\n";
}

}  // namespace sculpt
