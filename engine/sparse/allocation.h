#pragma once
// Divides a budget of kept weights between the prunable layers. The layers' counts add up to
// exactly the budget.
//
// An allocation gives each layer a share a_l. Layer l keeps min(c_l, eps * a_l) weights, where c_l
// is the number of weights that it keeps now (all weights, before any pruning). The factor eps is
// chosen so that the sum is the budget: layers that would exceed c_l keep c_l weights, and the rest
// of the budget is divided between the other layers. Counts are rounded by largest remainder; ties
// go to the earlier layer.
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
  int64_t offset = 0;   ///< first element in the parameter arena
  int64_t count = 0;    ///< n_l
  int64_t present = 0;  ///< weights that are not masked now
};

/// Returns the prunable parameters in global-index order.
std::vector<PrunableLayer> prunable_layers(const ParameterArena& parameters);

struct Allocation {
  std::string_view name;
  double (*share)(const PrunableLayer& layer);  ///< null for `global`
  std::string_view help;
};

std::span<const Allocation> allocations();
/// Throws Error that lists the known names if the name is unknown.
const Allocation& find_allocation(std::string_view name);

/// Returns round(density * n), which is what "density" means everywhere.
int64_t kept_for_density(double density, int64_t n);

/// Returns kept_for_density() for a prune that may keep at most `present` of n weights. Throws
/// Error if there is nothing to prune, if no weight would be kept, or if more than `present` would
/// be kept.
int64_t count_to_keep(double density, int64_t n, int64_t present);

/// Returns the number of kept weights of each layer. The sum is exactly `kept`, and no layer is
/// above its `present`. Must not be called for `global`. Throws Error if `kept` exceeds the number
/// of present weights.
std::vector<int64_t> allocate(const Allocation& allocation, std::span<const PrunableLayer> layers,
                              int64_t kept);

}  // namespace sculpt
