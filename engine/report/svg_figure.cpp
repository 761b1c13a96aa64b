#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "engine/report/markup.h"
#include "engine/report/series_style.h"
#include "engine/report/svg.h"
#include "engine/report/svg_parts.h"
#include "engine/report/thinning.h"

namespace sculpt {
namespace {

constexpr double kPlotHeight = 205, kRight = 14, kTop = 10, kRoomForBoundaries = 16;
constexpr double kBelowAxis = 46, kSmallMarker = 2.2;
// The number of points that all pale series of a figure may have together.
constexpr size_t kPalePoints = 4000;

/// Returns true if the y axis names categories, so that spreads lie along x.
bool has_level_spreads(const Figure& figure) {
  return !figure.y.categories.empty();
}

/// Returns the range of an axis that names the places 1, 2, ...
Range category_range(const Axis& axis) {
  return {0.4, static_cast<double>(axis.categories.size()) + 0.6, false};
}

Range range_of(const Figure& figure, bool of_x) {
  const bool log = of_x ? figure.x.log : figure.y.log;
  const bool spreads = of_x == has_level_spreads(figure);
  Range range;
  if (!(of_x ? figure.x : figure.y).categories.empty())
    return category_range(of_x ? figure.x : figure.y);
  const auto add = [&](double value) {
    if (!log || value > 0) range.add(value);
  };
  for (const Series& series : figure.series)
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!std::isfinite(series.x[i]) || !std::isfinite(series.y[i])) continue;
      const double value = of_x ? series.x[i] : series.y[i];
      const double spread = spreads ? spread_at(series, i) : 0;
      for (const double shown : {value - spread, value, value + spread})
        add(shown);
    }
  return range;
}

class FigureDrawing {
 public:
  FigureDrawing(const Figure& figure, SvgTarget target)
      : figure_(figure),
        target_(target),
        styled_(styled(figure)),
        area_(make_area()),
        x_(figure.x, range_of(figure, true), x_margin(), area_.left, area_.right),
        y_(y_scale(area_)) {}

  std::string svg() {
    const double below =
        area_.bottom + kBelowAxis + extra_room_for_x_labels(figure_.x, area_.width());
    const Legend legend = legend_of(target_, styled_, std::min(area_.left, 46.0), below);
    std::string text = svg_head(target_, below + legend.height, figure_.title);
    text += svg_axes(target_, area_, figure_.x, x_, figure_.y, y_, true);
    text += boundaries();
    const size_t pale = pale_points_each();
    for (const Styled& one : styled_)
      if (one.series->pale) text += line(one, pale) + markers(one);
    for (const Styled& one : styled_)
      if (!one.series->pale) text += spread(one);
    for (const Styled& one : styled_)
      if (!one.series->pale) text += line(one, 0) + markers(one);
    return text + legend.svg + "</svg>\n";
  }

 private:
  PlotArea make_area() const {
    PlotArea area;
    area.top = kTop + (figure_.boundaries.empty() ? 0 : kRoomForBoundaries);
    const auto rows = static_cast<double>(figure_.y.categories.size());
    area.bottom = area.top + (has_level_spreads(figure_)
                                  ? std::max(26.0, height_of_y_categories(figure_.y)) * rows + 8
                                  : kPlotHeight);
    area.right = kSvgWidth - kRight;
    // The ticks of y do not depend on the left end.
    area.left = room_for_y_labels(figure_.y, y_scale(area));
    return area;
  }

  Scale y_scale(const PlotArea& area) const {
    const Range range = range_of(figure_, false);
    if (has_level_spreads(figure_)) return {{}, range, 0, area.top, area.bottom};
    return {figure_.y, range, 0.06, area.bottom, area.top};
  }

  double x_margin() const {
    if (!figure_.x.categories.empty()) return 0;
    return has_lines_only() ? 0.01 : 0.04;
  }

  bool has_lines_only() const { return std::ranges::none_of(figure_.series, has_markers); }

  std::optional<Point> place(const Series& series, size_t i, double offset = 0) const {
    const double value = series.y[i] + offset;
    if (!std::isfinite(series.x[i]) || !std::isfinite(value)) return {};
    if ((figure_.x.log && series.x[i] <= 0) || (figure_.y.log && series.y[i] <= 0)) return {};
    // A bar that reaches below a logarithmic axis ends at the axis.
    const double y = figure_.y.log && value <= 0 ? y_(y_.low()) : y_(value);
    return Point{x_(series.x[i]), y};
  }

  /// Returns the parts of a line between gaps.
  std::vector<std::vector<Point>> parts(const Series& series, double sign = 0) const {
    std::vector<std::vector<Point>> found(1);
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (const auto point = place(series, i, sign * spread_at(series, i)))
        found.back().push_back(*point);
      else if (!found.back().empty())
        found.emplace_back();
    }
    if (found.back().empty()) found.pop_back();
    return found;
  }

  size_t pale_points_each() const {
    size_t count = 0;
    for (const Styled& one : styled_)
      count += one.series->pale && has_line(*one.series) ? 1 : 0;
    return std::max<size_t>(16, kPalePoints / std::max<size_t>(count, 1));
  }

  std::string line(const Styled& one, size_t most) const {
    if (!has_line(*one.series)) return "";
    const bool steps = one.series->mark == Mark::steps;
    std::string path;
    for (const auto& part : parts(*one.series)) {
      auto points = steps ? part : thinned(part, static_cast<size_t>(area_.width()));
      if (most > 0 && !steps) points = sampled(points, most);
      path += path_of(points, steps);
    }
    if (path.empty()) return "";
    const bool pale = one.series->pale;
    return fmt::format(
        "<path d=\"{}\"{}{} stroke-width=\"{}\"{} stroke-linejoin=\"round\" "
        "stroke-linecap=\"{}\"/>\n",
        path, series_stroke(target_, one.style), pale ? "" : dashes(one.style), pale ? "1" : "1.9",
        pale ? " opacity=\".28\"" : "", dashes(one.style).empty() || pale ? "round" : "butt");
  }

  std::string spread(const Styled& one) const {
    const Series& series = *one.series;
    if (series.spread.empty()) return "";
    return series.mark == Mark::line ? band(one) : bars(one);
  }

  std::string band(const Styled& one) const {
    const auto upper = parts(*one.series, 1), lower = parts(*one.series, -1);
    std::string path;
    for (size_t i = 0; i < upper.size(); ++i) {
      std::vector<Point> around = thinned(upper[i], static_cast<size_t>(area_.width()));
      const auto below = thinned(lower[i], static_cast<size_t>(area_.width()));
      around.insert(around.end(), below.rbegin(), below.rend());
      path += path_of(around, false) + "z";
    }
    return path.empty() ? ""
                        : fmt::format("<path d=\"{}\"{} opacity=\".17\"/>\n", path,
                                      series_fill(target_, one.style));
  }

  /// Returns bars along x, where the y axis names categories.
  std::string level_bars(const Styled& one) const {
    constexpr double kCap = 4;
    std::string path;
    for (size_t i = 0; i < one.series->x.size(); ++i) {
      const double half = spread_at(*one.series, i), x = one.series->x[i];
      const auto point = place(*one.series, i);
      if (half <= 0 || !point) continue;
      const double left = x_(figure_.x.log && x - half <= 0 ? x_.low() : x - half);
      const std::string top = coordinate(point->y - kCap);
      path += fmt::format("M{0} {1}v{2}M{0} {3}H{4}M{4} {1}v{2}", coordinate(left), top, 2 * kCap,
                          coordinate(point->y), coordinate(x_(x + half)));
    }
    return path.empty() ? ""
                        : fmt::format("<path d=\"{}\"{} stroke-width=\"1.4\"/>\n", path,
                                      series_stroke(target_, one.style));
  }

  std::string bars(const Styled& one) const {
    if (has_level_spreads(figure_)) return level_bars(one);
    constexpr double kCap = 3;
    std::string path;
    for (size_t i = 0; i < one.series->x.size(); ++i) {
      const double half = spread_at(*one.series, i);
      const auto top = place(*one.series, i, half), bottom = place(*one.series, i, -half);
      if (half <= 0 || !top || !bottom) continue;
      const std::string left = coordinate(top->x - kCap);
      path += fmt::format("M{} {}h{}M{} {}V{}M{} {}h{}", left, coordinate(top->y), 2 * kCap,
                          coordinate(top->x), coordinate(top->y), coordinate(bottom->y), left,
                          coordinate(bottom->y), 2 * kCap);
    }
    return path.empty() ? ""
                        : fmt::format("<path d=\"{}\"{} stroke-width=\"1.2\"/>\n", path,
                                      series_stroke(target_, one.style));
  }

  std::string markers(const Styled& one) const {
    const Series& series = *one.series;
    if (!has_markers(series)) return "";
    const double radius = series.pale ? kSmallMarker : kMarker;
    const std::string pale = series.pale ? " opacity=\".4\"" : "";
    std::string together, single;
    for (size_t i = 0; i < series.x.size(); ++i) {
      const auto point = place(series, i);
      if (!point) continue;
      const std::string path = marker_path(one.style, point->x, point->y, radius);
      if (series.labels.empty())
        together += path;
      else
        single += fmt::format("<path d=\"{}\"><title>{}</title></path>\n", path,
                              escape_markup(series.labels[i]));
    }
    if (series.labels.empty())
      return together.empty() ? ""
                              : fmt::format("<path d=\"{}\"{}{}/>\n", together,
                                            marker_ink(target_, one.style), pale);
    return fmt::format("<g{}{}>\n{}</g>\n", marker_ink(target_, one.style), pale, single);
  }

  std::string boundaries() const {
    std::string path, labels;
    double free_from = 0;
    for (const Boundary& boundary : figure_.boundaries) {
      if (!std::isfinite(boundary.x) || !x_.shows(boundary.x)) continue;
      const double x = x_(boundary.x);
      path +=
          fmt::format("M{} {}V{}", coordinate(x), coordinate(area_.top), coordinate(area_.bottom));
      const double half = text_width(boundary.label, kSmallSize) / 2;
      const double middle = std::clamp(x, half, kSvgWidth - half);
      if (boundary.label.empty() || middle - half < free_from) continue;
      free_from = middle + half + 5;
      labels += svg_text(target_, Part::number, {middle, area_.top - 5, "middle", kSmallSize},
                         boundary.label);
    }
    if (path.empty()) return "";
    return fmt::format("<path d=\"{}\"{} stroke-width=\".9\" stroke-dasharray=\"3 3\"/>\n", path,
                       part_ink(target_, Part::bound)) +
           labels;
  }

  const Figure& figure_;
  const SvgTarget target_;
  const std::vector<Styled> styled_;
  const PlotArea area_;
  const Scale x_, y_;
};

}  // namespace

std::string figure_svg(const Figure& figure, SvgTarget target) {
  return FigureDrawing(figure, target).svg();
}

}  // namespace sculpt
