#include "engine/sparse/prune.h"

#include <string_view>

#include "engine/core/error.h"
#include "engine/core/phase.h"

namespace sculpt {

namespace {

/// Says what would leave weights in every layer. The balanced allocation does if there is at least
/// one weight per layer.
std::string_view help_for_empty_layers(const PruneReport& report) {
  const bool enough = report.kept >= static_cast<int64_t>(report.layers.size());
  return report.step.allocation != "balanced" && enough
             ? "a higher density or the allocation balanced keeps some"
             : "a higher density keeps some";
}

PruneReport report_of(const KeptWeights& kept, const PruneStep& step) {
  PruneReport report;
  report.step = step;
  report.prunable = kept.total();
  report.kept = kept.kept();
  for (const auto& layer : kept.layers())
    report.layers.push_back({layer.name, layer.shape, layer.count, layer.present});
  for (const LayerKept& layer : report.layers)
    if (layer.kept == 0)
      report.warnings.push_back(fmt::format(
          "layer '{}' has no weight left ({} of {} pruned by {}, {}), and nothing flows "
          "through it; {}",
          layer.name, layer.count, layer.count, step.criterion, step.allocation,
          help_for_empty_layers(report)));
  return report;
}

}  // namespace

PruneReport prune(const ScoreContext& context, const PruneStep& step) {
  const Criterion& criterion = find_criterion(step.criterion);
  const Allocation& allocation = find_allocation(step.allocation);
  ParameterArena& parameters = context.network.parameters();
  const kernels::TraceRange phase(parameters.backend().trace, "prune");
  parameters.store_dense();
  KeptWeights kept(parameters);
  const int64_t count = count_to_keep(step.density, kept.total(), kept.kept());
  const ScoreResult result = [&] {
    const Phase scoring("scoring weights by " + step.criterion);
    return criterion.score(context, step, kept);
  }();
  kept.narrow(result.scores, allocation, count);
  kept.apply();
  PruneReport report = report_of(kept, step);
  report.note = result.note;
  return report;
}

}  // namespace sculpt
