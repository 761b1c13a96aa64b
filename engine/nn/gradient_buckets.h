#pragma once
// Divides the gradients of all parameters into buckets that ranks add up one by one. A bucket has
// the gradients of neighbouring parameters. The backward pass computes the gradients of the last
// layers first, so the first bucket has the last parameters, and its sum starts while the backward
// pass goes on.
//
// The mask is the same on all ranks, so only the gradients of kept weights need to travel: values
// without indices. Masked weights then have gradients that are not defined, as they have where
// kernels skip masked weights.

#include <cstdint>
#include <vector>

#include "engine/parameters/arena_layout.h"
#include "engine/parameters/kept_pattern.h"

namespace sculpt {

/// The gradients that ranks exchange of a layer that has masked weights.
enum class Exchange {
  kept,   ///< the gradients of kept weights
  whole,  ///< the gradients of all weights; where masked weights have none, zeros
};

struct GradientBucket {
  enum class Form {
    in_place,  ///< the values that travel are the stored gradients
    gathered,  ///< the values at `indices` of the stored gradients travel
    spread,    ///< zeros travel, and at `indices` among them the stored gradients
  };

  ParameterId first = 0, last = 0;  ///< the bucket has the parameters first, ..., last
  Form form = Form::in_place;
  int64_t begin = 0, end = 0;  ///< its values in the stored gradients
  int64_t travelling = 0;      ///< number of values that travel
  /// Positions, ascending: of the travelling values, counted from `begin` (gathered), or of the
  /// stored values, counted from the bucket's first travelling value (spread).
  std::vector<int32_t> indices = {};
};

/// Returns the buckets, in the order in which their sums start. Each has at least `least_values`
/// values that travel, except for the last one in this order. `layout` is the layout of the
/// gradients, and `pattern` the mask of all parameters.
std::vector<GradientBucket> plan_buckets(const ArenaLayout& layout, const KeptPattern& pattern,
                                         Exchange exchange, int64_t least_values);

}  // namespace sculpt
