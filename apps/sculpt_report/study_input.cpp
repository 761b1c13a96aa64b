#include "apps/sculpt_report/study_input.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/shell_word.h"
#include "engine/report/mean_figure.h"
#include "engine/report/ticks.h"
#include "engine/report/verdict_table.h"
#include "engine/study/claims.h"
#include "engine/study/metrics.h"

namespace sculpt {
namespace {

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

/// Returns the metric that a key of the config stands for on an axis.
std::string axis_of(const std::string& name) {
  return name == "prune.sparsity" ? "sparsity" : name;
}

Figure figure_of(const StudyFigure& wanted, const StudyResults& results) {
  // A metric that is not in the table borrows its label from the name.
  const std::string x_name = axis_of(wanted.x);
  const Metric x = metric_of(x_name), y = metric_of(wanted.y);
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
  figure.x = {std::string(x.label), wanted.log_x};
  figure.y = {std::string(y.label), wanted.log_y};
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
