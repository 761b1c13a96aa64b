#pragma once
// Criteria: a score per prunable weight; the highest are kept.
//
//   magnitude  abs(w). Han et al. 2015; Frankle & Carbin 2019
//   random     i.i.d. uniform, a function of (seed, index). Gadhikar et al. 2023; Liu et al. 2022
//   snip       abs(w * dL/dw). Lee et al. 2019
//   grasp      w * (H g), g = dL/dw, H the Hessian. Wang et al. 2020
//   synflow    abs(w) * dR/dabs(w). Tanaka et al. 2020; see criteria/synflow.cpp
//
// Scores are over the prunable parameters put one after another in global-index order. Those of
// weights that are masked already are ignored.

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/core/batch_source.h"
#include "engine/nn/network.h"
#include "engine/sparse/options.h"

namespace sculpt {

using Scores = std::variant<std::vector<float>, std::vector<double>>;

/// What a criterion may look at. It leaves weights, momentum, masks and batch-norm state as they
/// were, and overwrites gradients.
struct ScoreContext {
  Network& network;
  uint64_t seed = 0;
  PruneOptions options;  ///< score_batches, synflow_iterations
  /// For criteria that need data: class-balanced batch `index` in [0, options.score_batches), the
  /// same images whenever it is asked for, valid until the next call. It may be larger than
  /// network.max_batch(): it is then scored in pieces, each with batch statistics of its own.
  std::function<Batch(int64_t index)> score_batch = {};
  Normalization normalization = {};
};

struct ScoreResult {
  Scores scores;
  /// Prunable weights still in the running (1), for criteria that prune step by step inside; empty:
  /// all that are not masked.
  std::vector<uint8_t> candidates = {};
};

struct Criterion {
  std::string_view name;
  ScoreResult (*score)(const ScoreContext& context, const PruneStep& step);
  bool needs_data = false;  ///< calls score_batch
  std::string_view help;
};

std::span<const Criterion> criteria();
/// Throws Error naming the known ones.
const Criterion& find_criterion(std::string_view name);

/// Mean gradient of the loss over all score batches in training mode, over the prunable parameters
/// (concatenated); 0 where masked. For criteria.
std::vector<double> mean_score_gradient(const ScoreContext& context);

ScoreResult score_magnitude(const ScoreContext& context, const PruneStep& step);
ScoreResult score_random(const ScoreContext& context, const PruneStep& step);
ScoreResult score_snip(const ScoreContext& context, const PruneStep& step);
ScoreResult score_grasp(const ScoreContext& context, const PruneStep& step);
ScoreResult score_synflow(const ScoreContext& context, const PruneStep& step);

}  // namespace sculpt
