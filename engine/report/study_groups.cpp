#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "engine/report/provenance.h"
#include "engine/report/study_report.h"
#include "engine/report/ticks.h"
#include "engine/study/repeats.h"

namespace sculpt {
namespace {

/// Returns the density of the final network; of an unfinished run that of its last epoch.
double density_of(const RunRecords& run) {
  if (run.finished()) return 1 - run.result("sparsity");
  return run.epochs.empty() ? NAN : run.epochs.back().density;
}

/// Returns the density to four digits. Runs whose texts are equal have one density.
std::string density_key(const RunRecords& run) {
  return fmt::format("{:.4g}", density_of(run));
}

/// Keys that are no part of labels.
bool is_unlabelled(const std::string& key, const ReportContext& context) {
  static const std::set<std::string> keys = {"format", "seed", "prune.sparsity",
                                             "data.synthetic_seed", "data.label_noise_seed"};
  return keys.contains(key) || context.without_effect.contains(key);
}

/// Keys that people expect in labels come first.
int rank_of(const std::string& key) {
  static const std::vector<std::string> first = {"method",          "plan",      "masks.rule",
                                                 "prune.criterion", "optim.ham", "optim.sign_in"};
  return static_cast<int>(std::ranges::find(first, key) - first.begin());
}

std::vector<std::string> differing_keys(const std::vector<RunRecords>& runs,
                                        const ReportContext& context) {
  std::map<std::string, std::set<std::string>> values;
  for (const RunRecords& run : runs)
    for (const auto& [key, value] : run.config)
      if (!is_unlabelled(key, context)) values[key].insert(value);
  std::vector<std::string> keys;
  for (const auto& [key, found] : values)
    if (found.size() > 1) keys.push_back(key);
  std::ranges::stable_sort(keys, {}, rank_of);
  return keys;
}

/// Returns how a label names a value: "lrr", "ham", "no ham", "lr 0.1". Returns "" for something
/// that is off by default and off in this run.
std::string label_of(const std::string& key, const std::string& value,
                     const ReportContext& context) {
  static const std::set<std::string> off = {"false", "none", "0", ""};
  const auto normal = context.defaults.find(key);
  if (normal != context.defaults.end() && normal->second == value && off.contains(value)) return "";
  static const std::set<std::string> plain = {
      "method",           "plan",       "masks.rule", "prune.criterion",
      "prune.allocation", "model.name", "data.name"};
  const std::string name = key.substr(key.rfind('.') + 1);
  if (plain.contains(key)) return value;
  if (value == "true") return name;
  if (value == "false") return "no " + name;
  return name + " " + value;
}

}  // namespace

std::vector<ReportedRun> labelled_runs(std::vector<RunRecords> runs, const ReportContext& context,
                                       std::vector<std::string> first) {
  const bool named = std::ranges::any_of(first, [](const auto& text) { return !text.empty(); });
  std::vector<std::string> labels = std::move(first);
  labels.resize(runs.size());
  const auto append = [&](const std::string& key) {
    for (size_t i = 0; i < runs.size(); ++i) {
      const std::string part = label_of(key, runs[i].setting(key), context);
      if (!part.empty()) labels[i] += (labels[i].empty() ? "" : ", ") + part;
    }
  };
  for (const std::string& key : differing_keys(runs, context)) {
    // A key is named only if it tells apart what the label so far does not.
    std::map<std::pair<std::string, std::string>, std::set<std::string>> values;
    for (size_t i = 0; i < runs.size(); ++i)
      values[{labels[i], runs[i].finished() ? density_key(runs[i]) : ""}].insert(
          runs[i].setting(key));
    if ((key == "method" && !named) ||
        std::ranges::any_of(values, [](const auto& of) { return of.second.size() > 1; }))
      append(key);
  }
  // A label that says only what is off by default would be empty: the method begins all labels
  // then.
  if (std::ranges::any_of(labels, [](const std::string& label) { return label.empty(); }))
    for (size_t i = 0; i < runs.size(); ++i)
      labels[i] = runs[i].setting("method") + (labels[i].empty() ? "" : ", ") + labels[i];
  std::vector<ReportedRun> found;
  for (size_t i = 0; i < runs.size(); ++i) {
    ReportedRun run;
    run.name = folder_name(runs[i].folder);
    run.series = labels[i];
    run.failed = runs[i].diverged();
    run.records = std::move(runs[i]);
    found.push_back(std::move(run));
  }
  return found;
}

std::string mark_repeats(std::vector<ReportedRun>& runs, const ReportContext& context) {
  std::vector<ComparedRun> compared;
  std::map<std::string, size_t> same_name;
  for (const ReportedRun& run : runs)
    ++same_name[run.name];
  for (const ReportedRun& run : runs) {
    const RunRecords& records = run.records;
    const bool known = records.finished() && records.config_is_whole;
    compared.push_back(
        {same_name[run.name] > 1 ? records.folder.lexically_normal().string() : run.name,
         run.series + '\n' + density_key(records),
         known ? training_of(records.config, context.defaults, context.without_effect) : "",
         records.finished(), records.result("test_accuracy"), records.result("train_loss")});
  }
  const std::vector<Repeat> repeats = find_repeats(compared);
  for (const Repeat& repeat : repeats)
    runs[repeat.run].repeats = repeat.counted_name;
  return repeats_sentence(repeats);
}

std::vector<RunGroup> group_runs(const std::vector<ReportedRun>& runs) {
  std::vector<std::string> order;
  std::map<std::pair<size_t, std::string>, RunGroup> groups;
  for (const ReportedRun& run : runs) {
    if (!run.records.finished() || !run.repeats.empty()) continue;
    auto series = std::ranges::find(order, run.series);
    if (series == order.end()) series = order.insert(order.end(), run.series);
    const auto index = static_cast<size_t>(series - order.begin());
    RunGroup& group = groups[{index, density_key(run.records)}];
    if (group.runs.empty()) group = {run.series, index, density_of(run.records), {}};
    group.runs.push_back(&run);
  }
  std::vector<RunGroup> sorted;
  for (auto& [key, group] : groups)
    sorted.push_back(std::move(group));
  std::ranges::sort(sorted, [](const RunGroup& a, const RunGroup& b) {
    return a.series_index != b.series_index ? a.series_index < b.series_index
                                            : a.density > b.density;
  });
  return sorted;
}

}  // namespace sculpt
