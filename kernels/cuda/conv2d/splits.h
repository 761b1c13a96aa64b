#pragma once
// Sums over all pixels of a batch are cut into splits, whose partial sums are then added up in
// order. The cut depends on sizes only, so all devices give the same results.

#include <algorithm>

#include "kernels/common/layout.h"

namespace sculpt::kernels::cuda {

struct Splits {
  int64_t count;
  int64_t length;  ///< pixels of a split; a multiple of `unit`, the last split may be shorter
};

/// Cuts `pixels` into at most `wanted` splits of at least `unit` pixels.
inline Splits make_splits(int64_t pixels, int64_t wanted, int64_t unit) {
  const int64_t count =
      std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, ceil_div(pixels, unit)));
  const int64_t length = std::max<int64_t>(1, ceil_div(ceil_div(pixels, count), unit)) * unit;
  return {ceil_div(pixels, length), length};
}

/// Returns an upper bound of make_splits(p, wanted, unit).count for all p <= pixels.
inline int64_t max_splits(int64_t pixels, int64_t wanted, int64_t unit) {
  return std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, ceil_div(pixels, unit)));
}

}  // namespace sculpt::kernels::cuda
