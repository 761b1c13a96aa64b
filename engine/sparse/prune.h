#pragma once
// prune() performs the prune step of a plan: it computes scores, selects weights, writes masks, and
// zeroes masked weights. Scores and ranking stay in the memory of the backend; the mask that
// results is copied to the host, where patterns lie.

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
  int64_t kept = 0;   ///< weights that are not masked after the prune
};

struct PruneReport {
  PruneStep step;
  int64_t prunable = 0;  ///< N
  int64_t kept = 0;      ///< exactly round(density * N)
  std::vector<LayerKept> layers;
  /// Messages for the user, for example about a layer without any weight left.
  std::vector<std::string> warnings;
  std::string note;  ///< the criterion's message; may be empty
};

/// Keeps the round(density * N) weights with the highest scores (ties: lower global index) among
/// the weights that are not masked. Masked weights stay masked. Afterwards, weights and momentum of
/// masked elements are exactly +0. Throws Error for an unknown criterion or allocation, a density
/// above the current one, or a score that is NaN (naming layer and element). Scoring is a phase
/// (core/phase.h), which may throw Interrupted. After Error and Interrupted, everything is as it
/// was before the call.
PruneReport prune(const ScoreContext& context, const PruneStep& step);

}  // namespace sculpt
