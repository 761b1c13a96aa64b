#include "engine/report/mean_figure.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <set>
#include <utility>

#include "engine/report/study_report.h"
#include "engine/study/statistics.h"

namespace sculpt {
namespace {

/// Sets the means over the points of each group into the series, in the order of their x.
void add_means(const std::vector<const MeasuredPoint*>& points, Series& means) {
  struct Values {
    std::vector<double> xs, ys;
  };
  std::map<std::string, Values> groups;
  for (const MeasuredPoint* point : points) {
    Values& values = groups[point->group.empty() ? fmt::format("{:.4g}", point->x) : point->group];
    values.xs.push_back(point->x);
    values.ys.push_back(point->y);
  }
  std::vector<std::pair<double, Sample>> found;
  for (const auto& [name, values] : groups)
    found.emplace_back(describe(values.xs).mean, describe(values.ys));
  std::ranges::sort(found, {}, &std::pair<double, Sample>::first);
  for (const auto& [x, y] : found) {
    means.x.push_back(x);
    means.y.push_back(y.mean);
    means.spread.push_back(y.error_bar());
  }
}

}  // namespace

Figure mean_figure(const std::vector<MeasuredPoint>& points) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const MeasuredPoint*>> by_series;
  for (const MeasuredPoint& point : points) {
    if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
    if (by_series[point.series].empty()) order.push_back(point.series);
    by_series[point.series].push_back(&point);
  }
  Figure figure;
  for (size_t i = 0; i < order.size(); ++i) {
    Series means, singles;
    means.group = singles.group = static_cast<int64_t>(i);
    means.name = order[i];
    means.mark = Mark::line_and_points;
    singles.mark = Mark::points;
    singles.pale = true;
    add_means(by_series[order[i]], means);
    // A point that is the only one at its place is the mean.
    if (means.x.size() < by_series[order[i]].size())
      for (const MeasuredPoint* point : by_series[order[i]]) {
        singles.x.push_back(point->x);
        singles.y.push_back(point->y);
        singles.labels.push_back(point->label);
      }
    figure.series.push_back(std::move(means));
    if (!singles.x.empty()) figure.series.push_back(std::move(singles));
  }
  return figure;
}

Figure category_figure(const std::vector<NamedPoint>& points) {
  std::vector<std::string> places, series;
  std::map<size_t, std::set<size_t>> at_place;  // the series that a place has
  const auto index_in = [](std::vector<std::string>& names, const std::string& name) {
    const auto found = std::ranges::find(names, name);
    const auto index = static_cast<size_t>(found - names.begin());
    if (found == names.end()) names.push_back(name);
    return index;
  };
  for (const NamedPoint& point : points)
    if (std::isfinite(point.y))
      at_place[index_in(places, point.place)].insert(index_in(series, point.series));
  const bool side_by_side =
      std::ranges::any_of(at_place, [](const auto& place) { return place.second.size() > 1; });
  // All series of a place together take this part of the room between two places.
  constexpr double kWidth = 0.5;
  const auto offset = [&](size_t index) {
    if (!side_by_side) return 0.0;
    const double middle = static_cast<double>(series.size() - 1) / 2;
    return kWidth * (static_cast<double>(index) - middle) / static_cast<double>(series.size());
  };
  std::vector<MeasuredPoint> measured;
  for (const NamedPoint& point : points) {
    if (!std::isfinite(point.y)) continue;
    const size_t place = index_in(places, point.place);
    const double x = static_cast<double>(place + 1) + offset(index_in(series, point.series));
    measured.push_back(
        {point.series, x, point.y, point.label, fmt::format("{} {}", place, point.group)});
  }
  Figure figure = mean_figure(measured);
  figure.x.categories = std::move(places);
  // A line between names would mean nothing.
  for (Series& one : figure.series)
    one.mark = Mark::points;
  return figure;
}

}  // namespace sculpt
