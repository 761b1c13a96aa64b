#pragma once
// A network is measured after each prune. Batch norm's running statistics are then still those of
// the network before the prune; if the options request it, they are estimated again.

#include <cstdint>
#include <functional>
#include <optional>

#include "engine/nn/evaluate.h"

namespace sculpt {

/// Returns `count` training images, starting at image `first` of an order that depends only on the
/// run's seed. The images are not augmented and are valid until the next call.
using StatisticsImages = std::function<Batch(int64_t first, int64_t count)>;

/// Sets the running statistics of batch norm to those of the first `count` images (at least 2).
/// They become the mean over batches of the batch mean and of the unbiased batch variance, weighted
/// by the number of images in each batch. The batches are even pieces of at most
/// network.max_batch() images, and run without dropout. Weights and momentum do not change. Returns
/// false if `stop` returned true before the end; some statistics have then been changed. A network
/// without batch norm does not change.
bool reestimate_batch_norm(Network& network, const StatisticsImages& images, int64_t count,
                           const Normalization& normalization, const std::function<bool()>& stop);

struct AfterPrune {
  Evaluation now;
  /// The evaluation with the running statistics from before the prune; no value if `now` has the
  /// same statistics.
  std::optional<Evaluation> before_reestimation;
  int64_t reestimated_on = 0;  ///< number of images
};

/// Evaluates the network on `test`. If `count` is not 0 and the network has batch norm,
/// re-estimates the running statistics on `count` images and evaluates again. Returns no value if
/// `stop` returned true before the end; the statistics are then restored.
std::optional<AfterPrune> measure_after_prune(Network& network, BatchFeed& test,
                                              const StatisticsImages& images, int64_t count,
                                              const Normalization& normalization,
                                              const std::function<bool()>& stop);

}  // namespace sculpt
