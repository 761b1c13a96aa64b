#include "engine/sparse/allocation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "engine/core/error.h"
#include "engine/core/registry.h"
#include "engine/sparse/prune_options.h"

namespace sculpt {

namespace {

double uniform_share(const PrunableLayer& layer) {
  return static_cast<double>(layer.count);
}

double erk_share(const PrunableLayer& layer) {
  double sum = 0, product = 1;
  for (const int64_t d : layer.shape) {
    sum += static_cast<double>(d);
    product *= static_cast<double>(d);
  }
  return static_cast<double>(layer.count) * sum / product;
}

double balanced_share(const PrunableLayer&) {
  return 1;
}

constexpr auto kAllocations = std::to_array<Allocation>({
    {"global", nullptr, "one ranking over all layers"},
    {"uniform", uniform_share, "the same density in every layer"},
    {"erk", erk_share, "Erdos-Renyi-kernel: denser where layers are small (Evci et al. 2020)"},
    {"balanced", balanced_share, "the same number in every layer (Gadhikar et al. 2023)"},
});

/// Returns min(present, eps * share) for each layer, with the eps for which the sum is `kept`.
/// Marks the layers that reach their `present` in `full`.
std::vector<double> fill_quotas(const Allocation& allocation, std::span<const PrunableLayer> layers,
                                int64_t kept, std::vector<bool>& full) {
  std::vector<double> quota(layers.size(), 0.0);
  full.assign(layers.size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    int64_t rest = kept;
    double shares = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      if (full[l])
        rest -= layers[l].present;
      else
        shares += allocation.share(layers[l]);
    }
    for (size_t l = 0; l < layers.size(); ++l) {
      if (full[l]) continue;
      quota[l] = static_cast<double>(rest) * allocation.share(layers[l]) / shares;
      if (quota[l] < static_cast<double>(layers[l].present)) continue;
      quota[l] = static_cast<double>(layers[l].present);
      changed = full[l] = true;
    }
  }
  return quota;
}

}  // namespace

std::vector<PrunableLayer> prunable_layers(const ParameterArena& parameters) {
  std::vector<PrunableLayer> layers;
  const auto all = parameters.parameters();
  for (size_t id = 0; id < all.size(); ++id) {
    const Parameter& p = all[id];
    if (p.prunable)
      layers.push_back({p.name, p.shape, p.offset, p.count,
                        parameters.pattern()->kept(static_cast<ParameterId>(id))});
  }
  return layers;
}

std::span<const Allocation> allocations() {
  return kAllocations;
}

std::vector<std::string> allocation_names() {
  return names_of(kAllocations);
}

const Allocation& find_allocation(std::string_view name) {
  return find_row(kAllocations, name, "allocation");
}

int64_t kept_for_density(double density, int64_t n) {
  return std::llround(density * static_cast<double>(n));
}

int64_t count_to_keep(double density, int64_t n, int64_t present) {
  if (!(density > 0 && density <= 1))
    fail("cannot prune to density {}; it must be above 0 and at most 1", density);
  if (n == 0)
    fail(
        "no weight can be pruned: every layer is exempt; take layers out of prune.exempt, or set "
        "prune.first_conv or prune.classifier to true if it is false");
  const int64_t count = kept_for_density(density, n);
  if (count < 1)
    fail(
        "density {} keeps none of the {} prunable weights; raise it (density is 1 - "
        "prune.sparsity, unless the plan names it)",
        density, n);
  if (count > present)
    fail(
        "cannot prune to density {} ({} weights): only {} of {} are left. Masked weights do not "
        "come back; choose a density of at most {}",
        density, count, present, n, static_cast<double>(present) / static_cast<double>(n));
  return count;
}

std::vector<int64_t> allocate(const Allocation& allocation, std::span<const PrunableLayer> layers,
                              int64_t kept) {
  SCULPT_CHECK(allocation.share != nullptr, "{} has no layer budgets", allocation.name);
  int64_t present = 0;
  for (const auto& layer : layers)
    present += layer.present;
  if (kept > present)
    fail("{} weights cannot be kept: only {} are not masked; choose a lower density", kept,
         present);

  std::vector<bool> full;
  const std::vector<double> quota = fill_quotas(allocation, layers, kept, full);
  std::vector<int64_t> counts(layers.size());
  std::vector<size_t> open;
  int64_t rest = kept;
  for (size_t l = 0; l < layers.size(); ++l) {
    // The slack makes a quota like 2.9999999999 count as 3. It is far smaller than any remainder
    // that matters.
    counts[l] = std::min(layers[l].present, static_cast<int64_t>(std::floor(quota[l] + 1e-7)));
    rest -= counts[l];
    if (!full[l] && counts[l] < layers[l].present) open.push_back(l);
  }
  std::ranges::stable_sort(open, std::greater<>(),
                           [&](size_t l) { return quota[l] - static_cast<double>(counts[l]); });
  SCULPT_CHECK(rest >= 0 && rest <= static_cast<int64_t>(open.size()),
               "{} weights left over for {} layers", rest, open.size());
  for (int64_t i = 0; i < rest; ++i)
    ++counts[open[static_cast<size_t>(i)]];
  return counts;
}

}  // namespace sculpt
