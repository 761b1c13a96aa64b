#include "engine/report/study_report.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/core/name_list.h"
#include "engine/core/shell_word.h"
#include "engine/report/provenance.h"
#include "engine/report/run_figures.h"
#include "engine/report/study_figures.h"
#include "engine/report/study_headline.h"
#include "engine/report/ticks.h"

namespace sculpt {
namespace {

constexpr size_t kMostNames = 12, kMostProblems = 12;

std::string runs_text(size_t count) {
  return fmt::format("{} run{}", count, count == 1 ? "" : "s");
}

void add_names(std::vector<std::string>& warnings, const std::vector<std::string>& names,
               const char* one, const char* several) {
  if (names.empty()) return;
  warnings.push_back(names.size() == 1 ? fmt::format("{}: {}.", one, names[0])
                                       : fmt::format("{} {}: {}.", names.size(), several,
                                                     first_names(names, kMostNames)));
}

std::vector<std::string> warnings_of(const StudyPage& page) {
  std::vector<std::string> warnings, failed, stopped, running, problems;
  std::vector<const RunRecords*> compared;
  for (const ReportedRun& run : page.runs) {
    const RunRecords& records = run.records;
    const auto why = [&] {
      if (records.diverged())
        return fmt::format(" (training diverged in epoch {})", records.epochs.back().epoch);
      return run.failure.empty() ? std::string() : " (" + run.failure + ")";
    };
    if (run.failed)
      failed.push_back(run.name + why());
    else if (records.status == RunStatus::stopped)
      stopped.push_back(run.name);
    else if (records.status == RunStatus::running)
      running.push_back(run.name);
    const std::vector<std::string> of_run = records.all_problems();
    problems.insert(problems.end(), of_run.begin(), of_run.end());
    if (records.finished()) compared.push_back(&records);
  }
  add_names(warnings, failed, "One run has failed", "runs have failed");
  add_names(warnings, stopped, "One run has stopped before its end",
            "runs have stopped before their ends");
  add_names(warnings, running, "One run is still training", "runs are still training");
  add_names(warnings, page.waiting, "One run has not been started", "runs have not been started");
  warnings.insert(warnings.end(), page.left_out.begin(), page.left_out.end());
  warnings.insert(warnings.end(), page.analyses.begin(), page.analyses.end());
  for (const std::string& warning : environment_warnings(compared))
    warnings.push_back(warning);
  for (size_t i = 0; i < std::min(problems.size(), kMostProblems); ++i)
    warnings.push_back(problems[i]);
  if (problems.size() > kMostProblems)
    warnings.push_back(
        fmt::format("{} more records could not be read.", problems.size() - kMostProblems));
  return warnings;
}

size_t finished_runs(const StudyPage& page) {
  return static_cast<size_t>(std::ranges::count_if(
      page.runs, [](const ReportedRun& run) { return run.records.finished(); }));
}

ReportState state_of(const StudyPage& page, size_t total) {
  const auto any = [&](const auto& holds) { return std::ranges::any_of(page.runs, holds); };
  if (finished_runs(page) == total) return ReportState::finished;
  if (any([](const ReportedRun& run) { return run.records.status == RunStatus::running; }))
    return ReportState::running;
  if (any([](const ReportedRun& run) { return run.failed; })) return ReportState::failed;
  return ReportState::stopped;
}

std::vector<Fact> facts_of(const StudyPage& page, const std::vector<RunGroup>& groups,
                           size_t total) {
  std::vector<Fact> facts;
  const auto repeats =
      std::ranges::count_if(page.runs, [](const ReportedRun& run) { return !run.repeats.empty(); });
  facts.push_back({"finished runs",
                   finished_runs(page) == total
                       ? std::to_string(total)
                       : fmt::format("{} of {}", finished_runs(page), total),
                   repeats == 0 ? "" : fmt::format("{} of them not counted in means", repeats)});
  if (groups.empty()) return facts;
  std::set<std::string> series, densities, seeds;
  double seconds = 0;
  for (const RunGroup& group : groups) {
    series.insert(group.series);
    densities.insert(fmt::format("{:.4g}", group.density));
    for (const ReportedRun* run : group.runs) {
      seeds.insert(run->records.setting("seed"));
      seconds += run->records.result("seconds");
    }
  }
  facts.push_back({"series", std::to_string(series.size()), ""});
  facts.push_back({densities.size() == 1 ? "sparsity" : "sparsities",
                   densities.size() == 1 ? number_text(100 * (1 - groups[0].density), 4) + " %"
                                         : std::to_string(densities.size()),
                   ""});
  facts.push_back({"seeds", std::to_string(seeds.size()), ""});
  facts.push_back({"time of all runs", seconds_text(seconds), ""});
  return facts;
}

Section repeat_section(const StudyPage& page) {
  Section section{.heading = "How to repeat it"};
  section.commands = page.commands;
  std::vector<const RunRecords*> runs;
  for (const ReportedRun& run : page.runs)
    runs.push_back(&run.records);
  section.tables = {environment_table(runs)};
  const auto whole = std::ranges::find_if(
      page.runs, [](const ReportedRun& run) { return run.records.config_is_whole; });
  if (whole != page.runs.end()) {
    ShownCommand one = commands_of(whole->records)[0];
    one.purpose = fmt::format("Repeats {} in another folder, and so for each run", whole->name);
    section.commands.push_back(std::move(one));
  }
  return section;
}

}  // namespace

Report study_report(StudyPage page, const ReportContext& context) {
  const std::string repeats = mark_repeats(page.runs, context);
  const std::vector<RunGroup> groups = group_runs(page.runs);
  const size_t total = page.runs.size() + page.waiting.size() + page.left_out.size();
  Report report;
  report.title = page.title;
  report.kind = "Sculpt study";
  report.state = state_of(page, total);
  report.state_text = report.state == ReportState::finished
                          ? "finished"
                          : fmt::format("{} of {} finished", finished_runs(page), runs_text(total));
  report.sentence = headline_of(groups);
  report.facts = facts_of(page, groups, total);
  report.warnings = warnings_of(page);
  if (!repeats.empty()) report.warnings.insert(report.warnings.begin(), repeats);
  report.foot = context.written_by;

  Section claims{.heading = "Claims"};
  claims.paragraphs = page.verdict_sentences;
  claims.tables = page.verdicts;
  Section results{.heading = "Results"};
  results.paragraphs = page.paragraphs;
  results.figures = page.figures;
  for (Figure& figure : comparison_figures(page.runs, groups))
    results.figures.push_back(std::move(figure));
  if (groups.empty())
    results.paragraphs.push_back("No run has finished yet.");
  else
    results.tables = {group_table(groups)};
  Section curves{.heading = "Training"};
  curves.figures = curve_figures(groups);
  Section settings{.heading = "Settings"};
  settings.tables = {differing_settings(page.runs)};
  if (Table common = common_settings(page.runs, context); !common.rows.empty())
    settings.tables.push_back(std::move(common));
  Section runs{.heading = "All runs"};
  runs.tables = {run_table(page.runs, page.place)};
  runs.closed = true;

  if (!claims.tables.empty()) report.sections.push_back(std::move(claims));
  report.sections.push_back(std::move(results));
  if (!curves.figures.empty()) report.sections.push_back(std::move(curves));
  report.sections.push_back(std::move(settings));
  report.sections.push_back(repeat_section(page));
  report.sections.push_back(std::move(runs));
  make_names_unique(report);
  return report;
}

}  // namespace sculpt
