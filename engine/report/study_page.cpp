#include "engine/report/study_page.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <utility>
#include <vector>

#include "engine/report/verdict_table.h"
#include "engine/study/claims.h"

namespace sculpt {
namespace {

constexpr const char* kSeed = "seed";
constexpr const char* kSparsity = "prune.sparsity";

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);  // npos + 1 is 0
}

/// Returns the label of a run's series: its variant, and the other keys that the study varies. The
/// sparsity is an axis of most figures, and runs that differ in their seed belong together.
std::string series_of(const StudyRunResult& result) {
  std::string label = result.run.label;
  for (const auto& [key, value] : result.run.axes)
    if (key != kVariantKey && key != kSeed && key != kSparsity)
      label += fmt::format("{}{} {}", label.empty() ? "" : ", ", last_part(key), value);
  return label.empty() ? value_of(result, "method") : label;
}

/// How a metric is shown on an axis.
struct ShownMetric {
  std::string label;
  double factor = 1;
};

ShownMetric shown(const std::string& metric) {
  static const std::map<std::string, ShownMetric> known = {
      {"sparsity", {"sparsity (%)", 100}},
      {"density", {"kept weights (%)", 100}},
      {"density_mean", {"kept weights, mean over training (%)", 100}},
      {"prune.sparsity", {"sparsity (%)", 100}},
      {"test_accuracy", {"test accuracy (%)", 100}},
      {"best_test_accuracy_at_final_density", {"best test accuracy (%)", 100}},
      {"test_loss", {"test loss"}},
      {"train_loss", {"training loss"}},
      {"train_flops", {"training FLOPs (10¹²)", 1e-12}},
      {"train_flops_vs_dense", {"training FLOPs (one dense cycle = 1)"}},
      {"seconds", {"training time (minutes)", 1.0 / 60}},
      {"peak_memory_bytes", {"peak memory (MiB)", 1.0 / (1 << 20)}},
  };
  const auto found = known.find(metric);
  return found == known.end() ? ShownMetric{metric} : found->second;
}

/// Runs that differ in their seed only.
struct SeedGroup {
  std::map<std::string, std::string> axes;
  std::vector<const StudyRunResult*> runs;
};

std::vector<SeedGroup> seed_groups(const std::vector<const StudyRunResult*>& runs) {
  std::vector<SeedGroup> groups;
  for (const StudyRunResult* run : runs) {
    std::map<std::string, std::string> axes = run->run.axes;
    axes.erase(kSeed);
    auto group = std::ranges::find(groups, axes, &SeedGroup::axes);
    if (group == groups.end()) group = groups.insert(group, SeedGroup{std::move(axes), {}});
    group->runs.push_back(run);
  }
  return groups;
}

struct Point {
  double x = NAN, y = NAN, spread = 0;
};

/// Adds the means and the single runs of one series to a figure.
void add_series(const std::string& name, int64_t index, const std::vector<SeedGroup>& groups,
                const StudyFigure& asked, Figure& figure) {
  const double x_factor = shown(asked.x).factor, y_factor = shown(asked.y).factor;
  std::vector<Point> points;
  Series singles;
  for (const SeedGroup& group : groups) {
    std::vector<double> xs, ys;
    for (const StudyRunResult* run : group.runs) {
      const double x = x_factor * number_of(*run, asked.x), y = y_factor * number_of(*run, asked.y);
      if (std::isnan(x) || std::isnan(y)) continue;
      xs.push_back(x);
      ys.push_back(y);
      singles.labels.push_back(fmt::format("{}: {:.4g}", run->run.name, y));
    }
    if (xs.empty()) continue;
    singles.x.insert(singles.x.end(), xs.begin(), xs.end());
    singles.y.insert(singles.y.end(), ys.begin(), ys.end());
    const Spread x = spread_of(xs), y = spread_of(ys);
    points.push_back({x.mean, y.mean, y.deviation});
  }
  if (points.empty()) return;
  std::ranges::stable_sort(points, {}, &Point::x);
  Series means;
  means.name = name;
  means.mark = Mark::line_and_points;
  means.group = singles.group = index;
  for (const Point& point : points) {
    means.x.push_back(point.x);
    means.y.push_back(point.y);
    means.spread.push_back(point.spread);
  }
  const bool repeated = singles.x.size() > points.size();
  figure.series.push_back(std::move(means));
  if (!repeated) return;
  singles.mark = Mark::points;
  singles.pale = true;
  figure.series.push_back(std::move(singles));
}

Figure figure_of(const StudyFigure& asked, const StudyResults& results) {
  Figure figure;
  figure.name = asked.name;
  figure.title = asked.title.empty() ? asked.name : asked.title;
  figure.caption = asked.caption.empty() ? "Means with standard deviations over runs that differ "
                                           "only in their seed; small marks are single runs."
                                         : asked.caption;
  figure.x = {.label = shown(asked.x).label, .log = asked.log_x};
  figure.y = {.label = shown(asked.y).label, .log = asked.log_y};
  std::vector<std::pair<std::string, std::vector<const StudyRunResult*>>> series;
  for (const StudyRunResult& result : results.runs) {
    if (!result.finished() || !matches(asked.where, result)) continue;
    const std::string name =
        asked.series == kVariantKey
            ? series_of(result)
            : fmt::format("{} {}", last_part(asked.series), value_of(result, asked.series));
    auto found = std::ranges::find(series, name, &decltype(series)::value_type::first);
    if (found == series.end()) found = series.insert(found, {name, {}});
    found->second.push_back(&result);
  }
  int64_t index = 0;
  for (const auto& [name, runs] : series)
    add_series(name, index++, seed_groups(runs), asked, figure);
  return figure;
}

}  // namespace

StudyPage study_page(const StudyResults& results) {
  StudyPage page;
  page.title = results.study.title;
  for (const StudyRunResult& result : results.runs) {
    const bool failed = result.status == StudyRunStatus::failed;
    if (result.status == StudyRunStatus::waiting)
      page.waiting.push_back(result.run.name);
    else
      page.runs.push_back(
          {result.run.name, series_of(result), result.records, failed, result.failure});
  }
  const std::vector<ClaimResult> claims = judge_claims(results);
  if (!claims.empty()) page.verdicts.push_back(verdict_table(claims));
  for (const ClaimResult& claim : claims)
    page.paragraphs.push_back(verdict_sentence(claim));
  for (const StudyFigure& asked : results.study.figures) {
    Figure figure = figure_of(asked, results);
    if (!figure.series.empty()) page.figures.push_back(std::move(figure));
  }
  page.commands = {{"Runs the study, or goes on with it",
                    "sculpt_study " + results.study.folder.lexically_normal().string()}};
  return page;
}

}  // namespace sculpt
