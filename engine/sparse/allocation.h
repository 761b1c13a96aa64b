#pragma once
// Where a budget of kept weights goes: one number per prunable layer, exact in sum.
//
// An allocation gives each layer a share a_l; layer l keeps min(c_l, eps * a_l) weights, where c_l
// is what it keeps now (all of it, before any pruning) and eps is solved so that the sum is the
// budget: layers that would exceed c_l stay as they are and the rest is shared again. Rounded by
// largest remainder, ties to the earlier layer.
//
//   uniform   a_l = n_l
//   erk       a_l = n_l * (sum of the dimensions) / (product of the dimensions); for a convolution
//             Cin + Cout + kh + kw (Cin per group), for a linear layer Cin + Cout. Evci et al. 2020
//   balanced  a_l = 1. Gadhikar et al. 2023
//   global    no shares: one ranking over all layers

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// A prunable parameter.
struct PrunableLayer {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;   ///< in the parameter arena
  int64_t count = 0;    ///< n_l
  int64_t present = 0;  ///< weights not masked now
};

/// The prunable parameters in global-index order.
std::vector<PrunableLayer> prunable_layers(const ParameterArena& parameters);

struct Allocation {
  std::string_view name;
  double (*share)(const PrunableLayer& layer);  ///< null for global
  std::string_view help;
};

std::span<const Allocation> allocations();
/// Throws Error naming the known ones.
const Allocation& find_allocation(std::string_view name);

/// round(density * n), the count that "density" means everywhere.
int64_t kept_for_density(double density, int64_t n);

/// The same for a prune that leaves `present` of n weights at most. Throws Error if there is
/// nothing to prune, if none is kept, or if more are kept than are present.
int64_t count_to_keep(double density, int64_t n, int64_t present);

/// Kept weights of each layer; the sum is exactly `kept`, no layer above its `present`. Not for
/// `global`. Throws Error if kept is more than is present.
std::vector<int64_t> allocate(const Allocation& allocation, std::span<const PrunableLayer> layers,
                              int64_t kept);

}  // namespace sculpt
