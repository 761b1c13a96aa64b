#include <cmath>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/request.h"
#include "engine/run/prune_effects.h"

namespace sculpt::analyze {
namespace {

double sparsity(int64_t kept, int64_t prunable) {
  return prunable > 0 ? 1 - static_cast<double>(kept) / static_cast<double>(prunable) : NAN;
}

Figure figure_of(const std::vector<PruneEffect>& effects) {
  Figure figure{"prunes",
                "Accuracy around each prune",
                "Accuracy after the last epoch before a prune, right after the prune, and at the "
                "end of the cycle that follows.",
                {"sparsity after the prune (%)"},
                {"accuracy (%)"},
                {}};
  const auto add = [&](const char* name, double PruneEffect::*accuracy) {
    Series series;
    series.name = name;
    series.mark = Mark::line_and_points;
    for (const PruneEffect& effect : effects) {
      series.x.push_back(100 * sparsity(effect.kept_after, effect.prunable));
      series.y.push_back(100 * (effect.*accuracy));
    }
    figure.series.push_back(series);
  };
  add("before", &PruneEffect::accuracy_before);
  add("right after", &PruneEffect::accuracy_after);
  add("after training", &PruneEffect::accuracy_later);
  return figure;
}

}  // namespace

Analysis prunes(const std::filesystem::path& run_folder) {
  const RunRecords run = read_run(run_folder, ReadRecords::all, renamed_keys());
  const std::vector<PruneEffect> effects = prune_effects(run);
  if (effects.empty())
    throw UsageError(
        fmt::format("{} has no record of a prune (prunes.jsonl), so there is nothing "
                    "to show; its method is {}",
                    run_folder.string(), run.setting("method")));
  Analysis analysis;
  analysis.name = "prunes";
  analysis.title = "Effect of each prune";
  Table table{"prunes", "Accuracy and loss around each prune", "", {}, {}};
  set_columns(table, {{"step"},
                      {"epoch"},
                      {"criterion"},
                      {"sparsity (%)"},
                      {"before (%)"},
                      {"after (%)"},
                      {"change", {"change (percentage points)"}},
                      {"trained (%)"},
                      {"loss before"},
                      {"after", {"loss after"}}});
  for (const PruneEffect& effect : effects) {
    const std::string step = fmt::format("{}", effect.plan_step + 1);
    const double change = effect.accuracy_after - effect.accuracy_before;
    add_row(table, {step, effect.epoch, effect.criterion,
                    percent_cell(sparsity(effect.kept_after, effect.prunable)),
                    percent_cell(effect.accuracy_before), percent_cell(effect.accuracy_after),
                    percent_cell(change), percent_cell(effect.accuracy_later),
                    number_cell(effect.loss_before), number_cell(effect.loss_after)});
    analysis.values["accuracy_change." + step] = change;
    analysis.values["loss_change." + step] = effect.loss_after - effect.loss_before;
    analysis.values["accuracy_after_training." + step] = effect.accuracy_later;
  }
  analysis.tables.push_back(table);
  analysis.figures.push_back(figure_of(effects));
  analysis.notes = {
      "From the records of the run: accuracy and loss before and right after each prune, and "
      "accuracy "
      "at the end of the cycle that follows (trained). Steps are numbered from 1, as --plan "
      "numbers them. A prune "
      "before any training has no accuracy before it."};
  for (const std::string& problem : run.problems)
    analysis.notes.push_back(problem);
  return analysis;
}

}  // namespace sculpt::analyze
