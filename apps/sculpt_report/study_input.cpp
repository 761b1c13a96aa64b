#include "apps/sculpt_report/study_input.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/error.h"
#include "engine/core/name_list.h"
#include "engine/core/shell_word.h"
#include "engine/report/analysis_file.h"
#include "engine/report/mean_figure.h"
#include "engine/report/ticks.h"
#include "engine/report/verdict_table.h"
#include "engine/study/claims.h"
#include "engine/study/expand.h"
#include "engine/study/metrics.h"
#include "engine/study/run_analyses.h"
#include "engine/study/study_file.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

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

/// Returns the text of a run at an axis whose values are no numbers.
std::string name_at(const StudyRunResult& result, const std::string& key) {
  if (key == kVariantKey && !result.run.label.empty()) return result.run.label;
  return value_of(result, key);
}

/// Returns true if a run has a text at the x axis of a figure, such as the name of a method.
bool has_names(const std::vector<const StudyRunResult*>& runs, const std::string& x) {
  return std::ranges::any_of(runs, [&](const StudyRunResult* run) {
    return std::isnan(number_of(*run, x)) && !name_at(*run, x).empty();
  });
}

Figure figure_of(const StudyFigure& wanted, const StudyResults& results) {
  // A metric that is not in the table borrows its label from the name.
  const std::string x_name = axis_of(wanted.x);
  const Metric x = metric_of(x_name), y = metric_of(wanted.y);
  std::vector<const StudyRunResult*> runs;
  for (const StudyRunResult& result : results.runs)
    if (result.finished() && matches(wanted.where, result)) runs.push_back(&result);
  const bool names = has_names(runs, wanted.x);
  std::vector<MeasuredPoint> points;
  std::vector<NamedPoint> named;
  for (const StudyRunResult* result : runs) {
    const std::string series = series_of(*result, wanted.series);
    const double value = y.factor * number_of(*result, wanted.y);
    if (names)
      named.push_back({series, name_at(*result, wanted.x), value, result->run.name,
                       axes_without_seed(*result)});
    else
      points.push_back({series, x.factor * number_of(*result, wanted.x), value, result->run.name,
                        axes_without_seed(*result)});
  }
  Figure figure = names ? category_figure(named) : mean_figure(points);
  figure.name = wanted.name;
  figure.title = wanted.title.empty() ? wanted.name : wanted.title;
  figure.caption = wanted.caption.empty()
                       ? "Means with standard deviations over runs that differ only in their seed; "
                         "small marks are single runs."
                       : wanted.caption;
  figure.x = {std::string(x.label), wanted.log_x && !names, false, figure.x.categories};
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

/// Returns true if a person has made the analysis, so that the run has a file of it that the study
/// does not know of.
bool has_file_of(const StudyRun& run, const std::string& analysis) {
  const std::string name = analysis.substr(0, analysis.find(' '));
  return std::ranges::any_of(analysis_files(run.folder), [&](const std::filesystem::path& file) {
    return file.stem().string() == name || file.stem().string().starts_with(name + "-");
  });
}

/// Returns a sentence for each analysis that the study asks for and that finished runs lack.
std::vector<std::string> missing_of(const StudyResults& results) {
  constexpr size_t kMostNames = 12;
  const Study& study = results.study;
  const StudyFolder files(study.folder);
  std::vector<std::string> sentences;
  for (const std::string& analysis : study.analyses) {
    std::vector<std::string> lacking;
    std::string reason = "it has not been made yet or has failed";
    bool known = false;
    for (const StudyRunResult& result : results.runs) {
      const fs::path& folder = result.run.folder;
      if (!result.finished() || missing_analyses(folder, {analysis}).empty()) continue;
      const auto failed = failed_analyses(folder, {analysis}, files.failure(result.run));
      if (failed.empty() && has_file_of(result.run, analysis)) continue;
      lacking.push_back(result.run.name);
      if (known || failed.empty()) continue;
      known = true;
      reason = fmt::format("it has failed ({}{})", failed[0].how,
                           failed[0].said.empty() ? "" : ": " + failed[0].said);
    }
    if (lacking.empty()) continue;
    const std::string names = first_names(lacking, kMostNames);
    sentences.push_back(fmt::format("The analysis `{}` of {} is missing, because {}.", analysis,
                                    lacking.size() == 1
                                        ? fmt::format("the run {}", names)
                                        : fmt::format("{} runs ({})", lacking.size(), names),
                                    reason));
  }
  return sentences;
}

}  // namespace

ReadStudy read_study(const std::filesystem::path& folder, RenamedKeys renamed) {
  ReadStudy read;
  read.results.study = read_study_folder(folder);
  for (const StudyRun& run : expand(read.results.study)) {
    StudyRunResult result;
    result.run = run;
    try {
      result = read_study_run(run, folder, ReadRecords::all, renamed);
    } catch (const Error& error) {
      result.status = StudyRunStatus::stopped;
      read.left_out[run.name] = error.what();
    }
    read.results.runs.push_back(std::move(result));
  }
  read.missing_analyses = missing_of(read.results);
  return read;
}

StudyPage study_page(ReadStudy read, const ReportContext& context) {
  StudyResults& results = read.results;
  StudyPage page;
  for (const auto& [name, reason] : read.left_out)
    page.left_out.push_back(fmt::format("The run {} is left out: {}.", name, reason));
  page.analyses = std::move(read.missing_analyses);
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
    if (read.left_out.contains(result.run.name)) continue;
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
