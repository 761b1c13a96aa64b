#include "engine/report/study_figures.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <set>

#include "engine/report/choice.h"
#include "engine/report/run_figures.h"
#include "engine/report/scale.h"
#include "engine/report/ticks.h"
#include "engine/study/statistics.h"

namespace sculpt {
namespace {

using ValueOf = std::function<double(const RunRecords&)>;

constexpr const char* kSpread =
    "Means with standard deviations over runs that differ only in their seed; small marks are "
    "single runs.";

double accuracy_of(const RunRecords& run) {
  return 100 * run.result("test_accuracy");
}

std::vector<double> values_of(const RunGroup& group, const ValueOf& value_of) {
  std::vector<double> values;
  for (const ReportedRun* run : group.runs)
    values.push_back(value_of(run->records));
  return values;
}

/// Returns what a caption says of means and single runs.
std::string spread_caption(const std::vector<RunGroup>& groups) {
  const bool any = std::ranges::any_of(groups, [](const RunGroup& g) { return g.runs.size() > 1; });
  return any ? kSpread : "One run each, so there are no error bars.";
}

std::string images_of(const std::vector<RunGroup>& groups) {
  return groups.empty() ? "test" : measured_on(groups[0].runs[0]->records);
}

std::string label_of(const ReportedRun& run) {
  return fmt::format("{}: {} %", run.name, fixed_text(accuracy_of(run.records), 2));
}

/// Returns the accuracy of all groups, one series of means and one of single runs for each label.
Figure accuracy_figure(const std::vector<RunGroup>& groups, const ValueOf& x_of) {
  Figure figure;
  figure.y.label = images_of(groups) + " accuracy (%)";
  figure.caption = spread_caption(groups);
  std::map<size_t, std::pair<Series, Series>> found;  // means, single runs
  for (const RunGroup& group : groups) {
    auto& [means, singles] = found[group.series_index];
    const auto index = static_cast<int64_t>(group.series_index);
    means.group = singles.group = index;
    means.name = group.series;
    means.mark = Mark::line_and_points;
    singles.mark = Mark::points;
    singles.pale = true;
    const Sample accuracy = describe(values_of(group, accuracy_of));
    means.x.push_back(describe(values_of(group, x_of)).mean);
    means.y.push_back(accuracy.mean);
    means.spread.push_back(accuracy.error_bar());
    if (group.runs.size() < 2) continue;
    for (const ReportedRun* run : group.runs) {
      singles.x.push_back(x_of(run->records));
      singles.y.push_back(accuracy_of(run->records));
      singles.labels.push_back(label_of(*run));
    }
  }
  for (auto& [index, both] : found) {
    figure.series.push_back(std::move(both.first));
    figure.series.push_back(std::move(both.second));
  }
  return figure;
}

/// Makes the x axis logarithmic if its values are positive and span more than a factor of four.
void choose_scale(Figure& figure) {
  Range range;
  for (const Series& series : figure.series)
    for (const double x : series.x)
      range.add(x);
  figure.x.log = range.low > 0 && range.high > 4 * range.low;
}

bool have_one_density(const std::vector<RunGroup>& groups) {
  return std::ranges::all_of(groups, [&](const RunGroup& group) {
    return fmt::format("{:.4g}", group.density) == fmt::format("{:.4g}", groups[0].density);
  });
}

std::string sparsity_text(double density) {
  return number_text(100 * (1 - density), 4) + " %";
}

/// Returns a row for each series: its mean, its standard deviation along x, and its runs.
Figure rows_figure(const std::vector<RunGroup>& groups) {
  Figure figure;
  figure.name = "accuracy";
  figure.title = fmt::format("Accuracy at {} sparsity", sparsity_text(groups[0].density));
  figure.caption = spread_caption(groups);
  figure.x.label = images_of(groups) + " accuracy (%)";
  for (size_t i = 0; i < groups.size(); ++i) {
    const RunGroup& group = groups[i];
    figure.y.categories.push_back(fmt::format("{} ({})", group.series, group.runs.size()));
    Series means, singles;
    means.group = singles.group = static_cast<int64_t>(group.series_index);
    means.mark = singles.mark = Mark::points;
    singles.pale = true;
    const Sample accuracy = describe(values_of(group, accuracy_of));
    means.x = {accuracy.mean};
    means.y = {static_cast<double>(i + 1)};
    means.spread = {accuracy.error_bar()};
    means.labels = {fmt::format("{}: {} %", group.series, fixed_text(accuracy.mean, 2))};
    if (group.runs.size() > 1)
      for (const ReportedRun* run : group.runs) {
        singles.x.push_back(accuracy_of(run->records));
        singles.y.push_back(static_cast<double>(i + 1));
        singles.labels.push_back(label_of(*run));
      }
    figure.series.push_back(std::move(means));
    figure.series.push_back(std::move(singles));
  }
  figure.caption += " The number of runs stands in brackets.";
  return figure;
}

/// The mean over the runs of a group at each epoch that all of them have measured.
Series mean_curve(const RunGroup& group, double (*value_of)(const EpochMetrics&)) {
  std::map<int64_t, std::vector<double>> values;
  for (const ReportedRun* run : group.runs)
    for (const EpochMetrics& epoch : run->records.epochs)
      if (const double value = value_of(epoch); std::isfinite(value))
        values[epoch.epoch].push_back(value);
  Series series;
  for (const auto& [epoch, of_epoch] : values) {
    if (of_epoch.size() < group.runs.size()) continue;
    const Sample spread = describe(of_epoch);
    series.x.push_back(static_cast<double>(epoch));
    series.y.push_back(spread.mean);
    series.spread.push_back(spread.error_bar());
  }
  if (group.runs.size() < 2) series.spread.clear();
  return series;
}

/// Returns the curves of the groups with one density.
Figure curves(const std::vector<const RunGroup*>& groups, double (*value_of)(const EpochMetrics&)) {
  constexpr size_t kMostSingles = 60;
  Figure figure;
  figure.x.label = "epoch";
  size_t count = 0;
  for (const RunGroup* group : groups)
    count += group->runs.size();
  const size_t each = std::max<size_t>(2, kMostSingles / groups.size());
  for (const RunGroup* group : groups) {
    Series mean = mean_curve(*group, value_of);
    mean.name = group->series;
    mean.group = static_cast<int64_t>(group->series_index);
    if (group->runs.size() > 1)
      for (const size_t i : evenly_chosen(group->runs.size(), each)) {
        Series single = mean_curve({group->series, 0, 0, {group->runs[i]}}, value_of);
        single.group = mean.group;
        single.pale = true;
        figure.series.push_back(std::move(single));
      }
    figure.series.push_back(std::move(mean));
  }
  // The legend follows the order of the means, and pale series are drawn first anyway.
  std::ranges::stable_partition(figure.series, [](const Series& s) { return !s.pale; });
  figure.caption = count > groups.size()
                       ? "Means over runs that differ only in their seed, with bands of one "
                         "standard deviation; pale lines are single runs."
                       : "";
  if (count > kMostSingles && count > groups.size())
    figure.caption += " Not all single runs are drawn.";
  return figure;
}

double test_accuracy_at(const EpochMetrics& epoch) {
  return 100 * epoch.test_accuracy;
}

double train_loss_at(const EpochMetrics& epoch) {
  return epoch.train_loss;
}

}  // namespace

FlopsUnit flops_unit(double largest) {
  if (largest >= 1e19) return {1e-18, "training FLOPs (10\u00b9\u2078)"};
  if (largest >= 1e16) return {1e-15, "training FLOPs (10\u00b9\u2075)"};
  return {};
}

std::vector<Figure> comparison_figures(const std::vector<ReportedRun>& runs,
                                       const std::vector<RunGroup>& groups) {
  if (groups.empty()) return {};
  std::vector<Figure> figures;
  if (have_one_density(groups)) {
    figures.push_back(rows_figure(groups));
  } else {
    Figure figure = accuracy_figure(
        groups, [](const RunRecords& run) { return 100 * (1 - run.result("sparsity")); });
    figure.name = "accuracy-sparsity";
    figure.title = "Accuracy against sparsity";
    figure.x.label = "kept weights (%)";
    choose_scale(figure);
    figure.x.reversed = true;
    figure.caption += " Sparsity is 100 % minus the kept weights.";
    figures.push_back(std::move(figure));
  }
  double most = 0;
  for (const RunGroup& group : groups)
    for (const ReportedRun* run : group.runs)
      most = std::max(most, run->records.result("train_flops"));
  const FlopsUnit unit_of_flops = flops_unit(most);
  Figure flops = accuracy_figure(groups, [&](const RunRecords& run) {
    return unit_of_flops.factor * run.result("train_flops");
  });
  flops.name = "accuracy-flops";
  flops.title = "Accuracy against training FLOPs";
  flops.x.label = unit_of_flops.label;
  choose_scale(flops);
  figures.push_back(std::move(flops));
  double longest = 0;
  for (const ReportedRun& run : runs)
    if (run.records.finished()) longest = std::max(longest, run.records.result("seconds"));
  const double unit = longest < 180 ? 1 : longest < 3 * 3600 ? 60 : 3600;
  Figure time = accuracy_figure(
      groups, [unit](const RunRecords& run) { return run.result("seconds") / unit; });
  time.name = "accuracy-time";
  time.title = "Accuracy against training time";
  time.x.label = fmt::format("training time ({})", unit == 1    ? "seconds"
                                                   : unit == 60 ? "minutes"
                                                                : "hours");
  choose_scale(time);
  figures.push_back(std::move(time));
  return figures;
}

std::vector<Figure> curve_figures(const std::vector<RunGroup>& groups) {
  constexpr size_t kMostDensities = 4;
  std::map<std::string, std::vector<const RunGroup*>> by_density;
  std::vector<std::pair<double, std::string>> densities;
  for (const RunGroup& group : groups) {
    if (std::ranges::all_of(group.runs,
                            [](const auto* run) { return run->records.epochs.empty(); }))
      continue;
    const std::string key = fmt::format("{:.4g}", group.density);
    if (by_density[key].empty()) densities.emplace_back(-group.density, key);
    by_density[key].push_back(&group);
  }
  std::ranges::sort(densities);
  std::vector<Figure> figures;
  for (const size_t i : evenly_chosen(densities.size(), kMostDensities)) {
    const auto& shown = by_density[densities[i].second];
    const std::string sparsity = sparsity_text(-densities[i].first);
    const std::string name = number_text(-100 * densities[i].first, 4);
    figures.push_back(curves(shown, test_accuracy_at));
    figures.back().name = "accuracy-epochs-kept-" + name;
    figures.back().title = fmt::format("Accuracy over the epochs, {} sparsity", sparsity);
    figures.back().y.label = images_of(groups) + " accuracy (%)";
    figures.push_back(curves(shown, train_loss_at));
    figures.back().name = "loss-epochs-kept-" + name;
    figures.back().title = fmt::format("Training loss over the epochs, {} sparsity", sparsity);
    figures.back().y.label = "training loss";
  }
  return figures;
}

}  // namespace sculpt
