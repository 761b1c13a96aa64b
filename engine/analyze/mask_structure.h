#pragma once
// Describes how the kept weights of a mask lie inside each layer, and what would be expected of a
// mask that keeps as many weights of the layer at random.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/nn/network.h"

namespace sculpt {

/// The densities of the groups of weights of one layer: of its filters (all weights of an output
/// channel) or of its input channels (all weights that read an input channel).
struct GroupDensities {
  std::vector<double> sorted;  ///< kept weights / weights of each group, in ascending order
  /// Standard deviation of the densities, with the number of groups as divisor.
  double deviation = 0;
  /// What `deviation` squared is on average over all masks that keep as many weights of the layer,
  /// as a root: the standard deviation of a hypergeometric distribution.
  double random_deviation = 0;
  int64_t dead = 0;        ///< groups that keep no weight
  double random_dead = 0;  ///< the mean of `dead` over all such masks

  /// Returns the density that a fraction `share` of the groups do not exceed: the smallest density
  /// for share 0, the median for 0.5, the greatest for 1. Between two groups it is interpolated.
  double quantile(double share) const;
  /// deviation / random_deviation: about 1 for a random mask, 0 if all groups keep equally many
  /// weights. Not a number if no such mask has groups of unequal densities.
  double spread() const;
};

/// The mask of one layer whose weight is [outputs, inputs per group, ...]. A kernel is all weights
/// of a pair of an output and an input: 9 of a 3x3 convolution, 1 of a linear layer.
struct LayerStructure {
  std::string name;  ///< of the weight
  int64_t count = 0, kept = 0;
  GroupDensities filters, inputs;
  int64_t kernels = 0, empty_kernels = 0;
  double random_empty_kernels = 0;  ///< mean number over all masks that keep as many weights

  double density() const { return static_cast<double>(kept) / static_cast<double>(count); }
};

/// Describes the layers of all prunable weights, in the order of the parameters. `masks` has 0 or 1
/// per parameter element. Throws Error if it has another length than the network's parameters.
std::vector<LayerStructure> mask_structure(const Network& network, std::span<const uint8_t> masks);

/// Returns the probability that a group of `size` weights keeps none, if `kept` of `count` weights
/// are kept at random.
double chance_of_no_weight(int64_t count, int64_t kept, int64_t size);

}  // namespace sculpt
