#include "engine/report/mean_figure.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
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

}  // namespace sculpt
