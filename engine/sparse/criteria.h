#pragma once
// A criterion computes a score per prunable weight. A prune keeps the weights with the highest
// scores.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "engine/core/batch_source.h"
#include "engine/nn/mean_loss.h"
#include "engine/nn/network.h"
#include "engine/sparse/kept_weights.h"
#include "engine/sparse/prune_options.h"

namespace sculpt {

/// The inputs of a criterion. A criterion leaves weights, momentum, masks and batch-norm state as
/// they were, and overwrites gradients.
struct ScoreContext {
  Network& network;
  uint64_t seed = 0;
  PruneOptions options;  ///< criteria read score_batches and synflow_iterations
  /// Returns the class-balanced batch `index` in [0, options.score_batches), for criteria that need
  /// data. The batch has the same images in every call and is valid until the next call. A batch
  /// larger than network.max_batch() is scored in pieces of even size, each with its own batch
  /// statistics.
  std::function<Batch(int64_t index)> score_batch = {};
  Normalization normalization = {};
};

struct ScoreResult {
  Scores scores;
  std::string note = {};  ///< message for the user; may be empty
};

struct Criterion {
  std::string_view name;
  /// `kept` holds the weights to score: all weights that are not masked. Criteria that prune
  /// iteratively narrow it down themselves.
  ScoreResult (*score)(const ScoreContext& context, const PruneStep& step, KeptWeights& kept);
  bool needs_data = false;  ///< calls score_batch
  std::string_view help;
  std::string_view reads;  ///< config keys that the criterion depends on, separated by spaces
};

std::span<const Criterion> criteria();
/// Throws Error that lists the known names if the name is unknown.
const Criterion& find_criterion(std::string_view name);

/// Returns the loss that criteria differentiate: over all score batches, with batch statistics and
/// without dropout. `network` is the context's network or a copy of it.
MeanLoss mean_loss(const ScoreContext& context, Network& network);

ScoreResult score_magnitude(const ScoreContext& context, const PruneStep& step, KeptWeights& kept);
ScoreResult score_random(const ScoreContext& context, const PruneStep& step, KeptWeights& kept);
ScoreResult score_snip(const ScoreContext& context, const PruneStep& step, KeptWeights& kept);
ScoreResult score_grasp(const ScoreContext& context, const PruneStep& step, KeptWeights& kept);
ScoreResult score_synflow(const ScoreContext& context, const PruneStep& step, KeptWeights& kept);

}  // namespace sculpt
