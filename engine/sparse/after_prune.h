#pragma once
// What follows a prune: the network is measured, and batch norm's running statistics, which belong
// to the network as it was before, are estimated anew if the options ask for it.

#include <cstdint>
#include <functional>
#include <optional>

#include "engine/nn/evaluate.h"

namespace sculpt {

/// Training images in an order that depends on the run's seed only, not augmented: `count` of them
/// from `first` on. Valid until the next call.
using StatisticsImages = std::function<Batch(int64_t first, int64_t count)>;

/// Sets the running statistics of batch norm to those of the first `count` images, at least 2: the
/// mean over batches of the batch mean and of the unbiased batch variance, weighted by the images
/// of each. The batches are even pieces of at most network.max_batch() images, without dropout;
/// weights and momentum stay. False if `stop` became true on the way: some statistics have then
/// been changed. A network without batch norm stays as it is.
bool reestimate_batch_norm(Network& network, const StatisticsImages& images, int64_t count,
                           const Normalization& normalization, const std::function<bool()>& stop);

struct AfterPrune {
  Evaluation now;
  /// With the running statistics from before the prune; nothing if `now` has them, too.
  std::optional<Evaluation> before_reestimation;
  int64_t reestimated_on = 0;  ///< images
};

/// Evaluates on `test`; if `count` is not 0 and the network has batch norm, re-estimates on `count`
/// images and evaluates again. Nothing if `stop` became true on the way: the statistics are then
/// what they were.
std::optional<AfterPrune> measure_after_prune(Network& network, BatchFeed& test,
                                              const StatisticsImages& images, int64_t count,
                                              const Normalization& normalization,
                                              const std::function<bool()>& stop);

}  // namespace sculpt
