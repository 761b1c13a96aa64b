#pragma once
// Compares two networks of the same shapes: signs, masks, distance and angle.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/nn/network.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

/// Counts and sums over the prunable weights of a layer, or of all layers.
struct WeightComparison {
  std::string layer;  ///< name of the weight
  int64_t count = 0;
  int64_t kept_a = 0, kept_b = 0;
  int64_t kept_both = 0, kept_either = 0;
  // The next two numbers count weights that both masks keep.
  int64_t flips = 0;  ///< the signs differ, and neither weight is zero
  int64_t zeros = 0;  ///< at least one of the two weights is zero, so it has no sign
  double squared_distance = 0;
  double squared_norm_a = 0, squared_norm_b = 0;
  double product = 0;  ///< scalar product

  /// flips / kept_both; not a number if no weight is kept by both.
  double flipped() const;
  /// Jaccard index of the masks: kept_both / kept_either.
  double overlap() const;
  /// Euclidean distance; a masked weight counts as 0.
  double distance() const;
  /// Not a number if a norm is zero.
  double cosine() const;
  double density_a() const { return ratio(kept_a, count); }
  double density_b() const { return ratio(kept_b, count); }
  void add(const WeightComparison& other);

  static double ratio(int64_t part, int64_t whole);
};

/// Compares the prunable weights layer by layer. Masked weights must be zero.
std::vector<WeightComparison> compare_layers(const ParameterArena& parameters,
                                             const StoredNetwork& a, const StoredNetwork& b);

/// Adds up the layers, under the name "all".
WeightComparison total(const std::vector<WeightComparison>& layers);

}  // namespace sculpt
