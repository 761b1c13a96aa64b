#include "engine/report/mean_figure.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "engine/report/study_report.h"

namespace sculpt {
namespace {

/// Returns the means over the points with one x, and sets them into the series.
void add_means(const std::vector<const MeasuredPoint*>& points, Series& means) {
  std::map<std::string, std::vector<const MeasuredPoint*>> by_x;
  for (const MeasuredPoint* point : points)
    by_x[fmt::format("{:.4g}", point->x)].push_back(point);
  std::vector<std::vector<const MeasuredPoint*>> groups;
  for (auto& [x, group] : by_x)
    groups.push_back(std::move(group));
  std::ranges::sort(groups, {}, [](const auto& group) { return group[0]->x; });
  for (const auto& group : groups) {
    std::vector<double> xs, ys;
    for (const MeasuredPoint* point : group) {
      xs.push_back(point->x);
      ys.push_back(point->y);
    }
    const Spread spread = spread_of(ys);
    means.x.push_back(spread_of(xs).mean);
    means.y.push_back(spread.mean);
    means.spread.push_back(spread.deviation);
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

}  // namespace sculpt
