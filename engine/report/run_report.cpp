#include "engine/report/run_report.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/report/provenance.h"
#include "engine/report/run_figures.h"
#include "engine/report/ticks.h"

namespace sculpt {
namespace {

std::string percent(double fraction, int decimals = 2) {
  return fixed_text(100 * fraction, decimals) + " %";
}

/// Returns the last measured accuracy; not a number if there is none.
double last_accuracy(const RunRecords& run) {
  for (auto epoch = run.epochs.rbegin(); epoch != run.epochs.rend(); ++epoch)
    if (std::isfinite(epoch->test_accuracy)) return epoch->test_accuracy;
  return NAN;
}

std::string what_it_is(const RunRecords& run) {
  return fmt::format("Method {} with {} on {}, seed {}", run.setting("method"),
                     run.setting("model.name"), run.setting("data.name"), run.setting("seed"));
}

std::string sentence_of(const RunRecords& run) {
  const std::string what = what_it_is(run);
  if (run.finished()) {
    std::string text = fmt::format("{}: {} {} accuracy", what, percent(run.result("test_accuracy")),
                                   measured_on(run));
    if (run.result("sparsity") > 0)
      text +=
          fmt::format(" with {} of the prunable weights removed", percent(run.result("sparsity")));
    return text + fmt::format(", for {} times the training FLOPs of one dense cycle.",
                              number_text(run.result("train_flops_vs_dense"), 3));
  }
  if (run.diverged())
    return fmt::format("{}: training diverged in epoch {}.", what, run.epochs.back().epoch);
  const double accuracy = last_accuracy(run);
  if (!std::isfinite(accuracy)) return what + ".";
  return fmt::format("{}: {} {} accuracy so far.", what, percent(accuracy), measured_on(run));
}

std::vector<Fact> facts_of_finished(const RunRecords& run) {
  std::vector<Fact> facts;
  const double best = run.result("best_test_accuracy_at_final_density");
  facts.push_back({measured_on(run) + " accuracy", percent(run.result("test_accuracy")),
                   std::isfinite(best) ? fmt::format("best {} in epoch {}", percent(best),
                                                     run.result("best_epoch_at_final_density"))
                                       : ""});
  facts.push_back(
      {"sparsity", percent(run.result("sparsity")),
       fmt::format("{} of {} weights kept", grouped_text(std::llround(run.result("kept"))),
                   grouped_text(std::llround(run.result("prunable"))))});
  facts.push_back(
      {"training FLOPs", number_text(run.result("train_flops_vs_dense"), 3) + " \u00d7",
       fmt::format("those of one dense cycle ({:.3g} in all)", run.result("train_flops"))});
  const double dense = run.result("seconds_dense");
  facts.push_back({"time", seconds_text(run.result("seconds")),
                   dense > 0 ? fmt::format("{} with dense kernels", seconds_text(dense)) : ""});
  return facts;
}

std::vector<Fact> facts_of(const RunRecords& run, const ReportContext& context) {
  std::vector<Fact> facts;
  if (run.finished()) facts = facts_of_finished(run);
  if (run.epochs.empty()) return facts;
  const EpochMetrics& last = run.epochs.back();
  if (!run.finished()) {
    const double accuracy = last_accuracy(run);
    if (std::isfinite(accuracy))
      facts.push_back({measured_on(run) + " accuracy", percent(accuracy), "so far"});
    facts.push_back({"kept weights", percent(last.density), ""});
    double seconds = 0;
    for (const EpochMetrics& epoch : run.epochs)
      seconds += std::isfinite(epoch.seconds) ? epoch.seconds : 0;
    facts.push_back({"time", seconds_text(seconds), "so far"});
  }
  const bool of = !run.finished() && context.planned_epochs > 0;
  facts.push_back({"epochs",
                   of ? fmt::format("{} of {}", last.epoch, context.planned_epochs)
                      : std::to_string(last.epoch),
                   last.cycle > 1 ? fmt::format("{} cycles", last.cycle) : "one cycle"});
  if (std::isfinite(last.train_loss))
    facts.push_back({"training loss", fixed_text(last.train_loss, 4),
                     fmt::format("accuracy {}", percent(last.train_accuracy))});
  return facts;
}

std::string state_text(const RunRecords& run, const ReportContext& context) {
  if (run.diverged()) return "diverged";
  if (run.finished() || run.epochs.empty()) return name_of(run.status);
  std::string text = fmt::format("{}, epoch {}", name_of(run.status), run.epochs.back().epoch);
  if (context.planned_epochs > 0) text += fmt::format(" of {}", context.planned_epochs);
  return text;
}

ReportState state_of(const RunRecords& run) {
  if (run.diverged()) return ReportState::failed;
  if (run.finished()) return ReportState::finished;
  return run.status == RunStatus::running ? ReportState::running : ReportState::stopped;
}

Section training_section(const RunRecords& run) {
  Section section{.heading = "Training"};
  if (run.epochs.empty())
    section.paragraphs.push_back("No epoch has been recorded yet.");
  else
    section.figures = epoch_figures(run);
  if (const auto figure = layer_figure(run)) section.figures.push_back(*figure);
  if (const auto figure = prune_figure(run)) section.figures.push_back(*figure);
  if (!run.prunes.empty()) section.tables.push_back(prune_table(run));
  return section;
}

Section section_of(const Analysis& analysis) {
  Section section{.heading = analysis.title};
  section.paragraphs = analysis.notes;
  section.figures = analysis.figures;
  section.heat_maps = analysis.heat_maps;
  section.tables = analysis.tables;
  // Analyses name their figures for themselves. In a report they stand beside others.
  const auto prefix = [&](auto& shown) { shown.name = analysis.name + "-" + shown.name; };
  std::ranges::for_each(section.figures, prefix);
  std::ranges::for_each(section.heat_maps, prefix);
  std::ranges::for_each(section.tables, prefix);
  if (!analysis.command.empty())
    section.commands.push_back({"Repeats this analysis", analysis.command});
  return section;
}

}  // namespace

std::vector<Analysis> read_analyses(RunRecords& run) {
  std::vector<Analysis> analyses;
  for (const std::filesystem::path& file : analysis_files(run.folder))
    try {
      analyses.push_back(read_analysis(file));
    } catch (const Error& error) {
      run.unread_analyses[file] = fmt::format("An analysis is left out: {}.", error.what());
    }
  return analyses;
}

Report run_report(const RunRecords& run, const std::vector<Analysis>& analyses,
                  const ReportContext& context) {
  Report report;
  report.title = folder_name(run.folder);
  report.kind = "Sculpt run";
  report.state = state_of(run);
  report.state_text = state_text(run, context);
  report.sentence = sentence_of(run);
  report.facts = facts_of(run, context);
  report.warnings = run.all_problems();
  report.foot = context.written_by;
  if (run.diverged())
    report.warnings.insert(report.warnings.begin(),
                           fmt::format("Training diverged in epoch {}, which ended the run.",
                                       run.epochs.back().epoch));
  report.sections.push_back(training_section(run));
  for (const Analysis& analysis : analyses)
    report.sections.push_back(section_of(analysis));
  Section settings{.heading = "Settings"};
  settings.tables = {changed_settings(run, context)};
  report.sections.push_back(std::move(settings));
  Section repeat{.heading = "How to repeat it"};
  if (run.config_is_whole)
    repeat.commands = commands_of(run);
  else
    repeat.paragraphs.push_back("The config of the run is damaged, so no command repeats the run.");
  repeat.tables = {environment_table({&run})};
  report.sections.push_back(std::move(repeat));
  if (const auto table = layer_table(run)) {
    Section layers{.heading = "Layers"};
    layers.tables = {*table};
    layers.closed = true;
    report.sections.push_back(std::move(layers));
  }
  Section all{.heading = "All settings"};
  all.tables = {all_settings(run)};
  all.closed = true;
  report.sections.push_back(std::move(all));
  make_names_unique(report);
  return report;
}

}  // namespace sculpt
