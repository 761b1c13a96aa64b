#include "apps/sculpt_report/study_input.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/shell_word.h"
#include "engine/report/mean_figure.h"
#include "engine/report/ticks.h"
#include "engine/report/verdict_table.h"
#include "engine/study/claims.h"

namespace sculpt {
namespace {

/// How people write a metric on an axis.
struct Metric {
  std::string label;
  double factor = 1;
};

const std::map<std::string, Metric>& metrics() {
  static const std::map<std::string, Metric> known = {
      {"test_accuracy", {"test accuracy (%)", 100}},
      {"best_test_accuracy_at_final_density", {"best test accuracy (%)", 100}},
      {"test_loss", {"test loss"}},
      {"train_loss", {"training loss"}},
      {"train_flops_vs_dense", {"training FLOPs (one dense cycle = 1)"}},
      {"train_flops", {"training FLOPs (10¹²)", 1e-12}},
      {"seconds", {"training time (minutes)", 1.0 / 60}},
      {"sparsity", {"sparsity (%)", 100}},
      {"prune.sparsity", {"sparsity (%)", 100}},
      {"density", {"kept weights (%)", 100}},
      {"density_mean", {"kept weights, mean over training (%)", 100}},
      {"images_per_second", {"images per second"}}};
  return known;
}

Metric metric_of(const std::string& name) {
  const auto found = metrics().find(name);
  return found == metrics().end() ? Metric{name} : found->second;
}

/// Returns the name of the series that a run belongs to in a figure.
std::string series_of(const StudyRunResult& result, const std::string& key) {
  if (key == kVariantKey && !result.run.label.empty()) return result.run.label;
  const std::string value = value_of(result, key);
  if (!value.empty())
    return key == kVariantKey ? value : key.substr(key.rfind('.') + 1) + " " + value;
  return result.records.setting("method");
}

/// Returns the values of all axes but the seed. Runs with the same text are one mean.
std::string axes_without_seed(const StudyRunResult& result) {
  std::string text;
  for (const auto& [key, value] : result.run.axes)
    if (key != "seed") text += fmt::format("{}={} ", key, value);
  return text;
}

Figure figure_of(const StudyFigure& wanted, const StudyResults& results) {
  const Metric x = metric_of(wanted.x), y = metric_of(wanted.y);
  std::vector<MeasuredPoint> points;
  for (const StudyRunResult& result : results.runs) {
    if (!result.finished() || !matches(wanted.where, result)) continue;
    points.push_back({series_of(result, wanted.series), x.factor * number_of(result, wanted.x),
                      y.factor * number_of(result, wanted.y), result.run.name,
                      axes_without_seed(result)});
  }
  Figure figure = mean_figure(points);
  figure.name = wanted.name;
  figure.title = wanted.title.empty() ? wanted.name : wanted.title;
  figure.caption = wanted.caption.empty()
                       ? "Means with standard deviations over runs that differ only in their seed; "
                         "small marks are single runs."
                       : wanted.caption;
  figure.x = {x.label, wanted.log_x};
  figure.y = {y.label, wanted.log_y};
  figure.x.reversed = wanted.x == "density";
  return figure;
}

std::string command_of(const Study& study) {
  std::string text = "sculpt_study " + shell_word(study.source.empty() ? study.file : study.source);
  if (!study.size.empty()) text += " --size " + shell_word(study.size);
  return text;
}

/// Returns the label of a run: its variant, and the other keys that the study varies. Runs that
/// differ in their seed belong together, and the sparsity is an axis of the figures.
std::string label_of(const StudyRunResult& result) {
  std::string label = result.run.label;
  for (const auto& [key, value] : result.run.axes)
    if (key != kVariantKey && key != "seed" && key != "prune.sparsity")
      label +=
          fmt::format("{}{} {}", label.empty() ? "" : ", ", key.substr(key.rfind('.') + 1), value);
  return label.empty() ? result.records.setting("method") : label;
}

/// Returns the last line of a log that says something.
std::string last_line(const std::string& log) {
  std::string line;
  size_t begin = 0;
  while (begin < log.size()) {
    const size_t end = std::min(log.find('\n', begin), log.size());
    if (end > begin) line = log.substr(begin, end - begin);
    begin = end + 1;
  }
  return line;
}

}  // namespace

StudyPage study_page(StudyResults results, const ReportContext& context) {
  StudyPage page;
  page.title = results.study.title;
  for (const StudyFigure& figure : results.study.figures)
    page.figures.push_back(figure_of(figure, results));
  const std::vector<ClaimResult> claims = judge_claims(results);
  if (!claims.empty()) page.verdicts.push_back(verdict_table(claims));
  for (const ClaimResult& claim : claims)
    page.verdict_sentences.push_back(verdict_sentence(claim));
  std::vector<RunRecords> records;
  std::vector<const StudyRunResult*> shown;
  std::vector<std::string> labels;
  for (StudyRunResult& result : results.runs) {
    if (result.status == StudyRunStatus::waiting) {
      page.waiting.push_back(result.run.name);
      continue;
    }
    shown.push_back(&result);
    labels.push_back(result.run.label);
    records.push_back(std::move(result.records));
  }
  page.runs = labelled_runs(std::move(records), context, std::move(labels));
  for (size_t i = 0; i < shown.size(); ++i) {
    ReportedRun& run = page.runs[i];
    run.name = shown[i]->run.name;
    if (!shown[i]->run.axes.empty()) run.series = label_of(*shown[i]);
    run.failed = run.failed || shown[i]->status == StudyRunStatus::failed;
    run.failure = last_line(shown[i]->failure);
  }
  page.commands = {{"Runs the study, or goes on with it", command_of(results.study)}};
  return page;
}

}  // namespace sculpt
