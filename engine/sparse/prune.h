#pragma once
// The verb Prune: score, select, write masks, zero what is masked. All of it happens where the
// weights are; counts per layer come to the host.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/sparse/allocation.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

struct LayerKept {
  std::string name;
  std::vector<int64_t> shape;
  int64_t count = 0;  ///< weights of the layer
  int64_t kept = 0;   ///< not masked, after the prune
};

struct PruneReport {
  PruneStep step;
  int64_t prunable = 0;  ///< N
  int64_t kept = 0;      ///< exactly round(density * N)
  std::vector<LayerKept> layers;
  /// For the user, e.g. a layer that has no weight left.
  std::vector<std::string> warnings;
  std::string note;  ///< the criterion's, if there is something to say
};

/// Keeps the round(density * N) weights with the highest scores (ties: lower global index) among
/// those not masked; masked weights never come back. Weights and momentum of masked elements are
/// exactly +0 afterwards. Throws Error, with everything as it was, on an unknown criterion or
/// allocation, a density above the present one, or a score that is NaN (naming layer and element).
/// The scoring is a phase (core/phase.h): Interrupted comes out of it with everything as it was,
/// too.
PruneReport prune(const ScoreContext& context, const PruneStep& step);

}  // namespace sculpt
