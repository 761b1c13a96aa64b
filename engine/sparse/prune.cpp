#include "engine/sparse/prune.h"

#include <algorithm>
#include <numeric>

#include "engine/core/error.h"
#include "kernels/ranking.h"

namespace sculpt {

namespace {

/// "element 7 of 'fc.weight'" for an index into the concatenated prunable weights.
std::string element_name(std::span<const PrunableLayer> layers, int64_t index) {
  for (const auto& layer : layers) {
    if (index < layer.count) return fmt::format("element {} of '{}'", index, layer.name);
    index -= layer.count;
  }
  return fmt::format("element {}", index);
}

/// Ranks one run of the concatenated weights: elements [first, first + count).
void select_run(std::span<const PrunableLayer> layers, const Scores& scores,
                std::span<const uint8_t> candidates, size_t first, size_t count, int64_t kept,
                std::vector<uint8_t>& keep) {
  const auto result = std::visit(
      [&](const auto& values) {
        return kernels::select_top_k(std::span(keep).subspan(first, count),
                                     std::span(values).subspan(first, count),
                                     candidates.subspan(first, count), kept);
      },
      scores);
  if (result.first_nan >= 0)
    fail("the score of {} is NaN; was the network trained to a NaN loss?",
         element_name(layers, static_cast<int64_t>(first) + result.first_nan));
}

/// Counts what `candidates` leaves in each layer.
void set_present(std::vector<PrunableLayer>& layers, std::span<const uint8_t> candidates) {
  size_t first = 0;
  for (auto& layer : layers) {
    const auto part = candidates.subspan(first, static_cast<size_t>(layer.count));
    layer.present = std::accumulate(part.begin(), part.end(), int64_t{0});
    first += static_cast<size_t>(layer.count);
  }
}

PruneReport report_of(const ParameterArena& parameters, const PruneStep& step) {
  PruneReport report;
  report.step = step;
  report.prunable = parameters.prunable_count();
  report.kept = parameters.kept_count();
  for (const auto& layer : prunable_layers(parameters)) {
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

std::vector<uint8_t> prunable_mask(const ParameterArena& parameters) {
  std::vector<uint8_t> mask;
  mask.reserve(static_cast<size_t>(parameters.prunable_count()));
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    const auto part = ParameterArena::slice(parameters.masks(), p);
    mask.insert(mask.end(), part.begin(), part.end());
  }
  return mask;
}

void write_masks(ParameterArena& parameters, std::span<const uint8_t> mask) {
  SCULPT_CHECK(static_cast<int64_t>(mask.size()) == parameters.prunable_count(),
               "a mask of {} elements for {} prunable weights", mask.size(),
               parameters.prunable_count());
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    const auto count = static_cast<size_t>(p.count);
    std::ranges::copy(mask.first(count), ParameterArena::slice(parameters.masks(), p).begin());
    mask = mask.subspan(count);
  }
  parameters.apply_masks();
}

std::vector<uint8_t> select_kept(std::span<const PrunableLayer> layers, const Scores& scores,
                                 std::span<const uint8_t> candidates, std::string_view allocation,
                                 int64_t kept) {
  const Allocation& row = find_allocation(allocation);
  const size_t n = candidates.size();
  std::visit(
      [&](const auto& values) {
        SCULPT_CHECK(values.size() == n, "{} scores for {} prunable weights", values.size(), n);
      },
      scores);
  std::vector<uint8_t> keep(n, 0);
  if (row.share == nullptr) {
    select_run(layers, scores, candidates, 0, n, kept, keep);
    return keep;
  }
  const std::vector<int64_t> counts = allocate(row, layers, kept);
  size_t first = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const auto count = static_cast<size_t>(layers[l].count);
    select_run(layers, scores, candidates, first, count, counts[l], keep);
    first += count;
  }
  return keep;
}

PruneReport prune(const ScoreContext& context, const PruneStep& step) {
  const Criterion& criterion = find_criterion(step.criterion);
  find_allocation(step.allocation);
  ParameterArena& parameters = context.network.parameters();
  const int64_t total = parameters.prunable_count();
  const int64_t present = parameters.kept_count();
  if (!(step.density > 0 && step.density <= 1))
    fail("cannot prune to density {}; it must be above 0 and at most 1", step.density);
  const int64_t kept = kept_for_density(step.density, total);
  if (kept < 1)
    fail("density {} keeps none of the {} prunable weights; raise it", step.density, total);
  if (kept > present)
    fail(
        "cannot prune to density {} ({} weights): only {} of {} are left. Masked weights do not "
        "come back; choose a density of at most {}",
        step.density, kept, present, total,
        static_cast<double>(present) / static_cast<double>(total));

  ScoreResult result = criterion.score(context, step);
  std::vector<PrunableLayer> layers = prunable_layers(parameters);
  if (result.candidates.empty())
    result.candidates = prunable_mask(parameters);
  else
    set_present(layers, result.candidates);
  write_masks(parameters,
              select_kept(layers, result.scores, result.candidates, step.allocation, kept));
  return report_of(parameters, step);
}

}  // namespace sculpt
