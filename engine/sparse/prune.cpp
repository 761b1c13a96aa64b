#include "engine/sparse/prune.h"

#include "engine/core/error.h"

namespace sculpt {

namespace {

PruneReport report_of(const KeptWeights& kept, const PruneStep& step) {
  PruneReport report;
  report.step = step;
  report.prunable = kept.total();
  report.kept = kept.kept();
  for (const auto& layer : kept.layers()) {
    report.layers.push_back({layer.name, layer.shape, layer.count, layer.present});
    if (layer.present == 0)
      report.warnings.push_back(
          fmt::format("layer '{}' has no weight left ({} of {} pruned by {}, {}); nothing flows "
                      "through it. A higher density or allocation erk or balanced keeps some",
                      layer.name, layer.count, layer.count, step.criterion, step.allocation));
  }
  return report;
}

}  // namespace

PruneReport prune(const ScoreContext& context, const PruneStep& step) {
  const Criterion& criterion = find_criterion(step.criterion);
  const Allocation& allocation = find_allocation(step.allocation);
  ParameterArena& parameters = context.network.parameters();
  const kernels::TraceRange phase(parameters.backend().trace, "prune");
  KeptWeights kept(parameters);
  const int64_t count = count_to_keep(step.density, kept.total(), kept.kept());
  const ScoreResult result = criterion.score(context, step, kept);
  kept.narrow(result.scores, allocation, count);
  kept.apply();
  PruneReport report = report_of(kept, step);
  report.note = result.note;
  return report;
}

}  // namespace sculpt
