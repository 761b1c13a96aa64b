#pragma once
// Computes loss and accuracy of a network on a whole source, in evaluation mode.

#include <functional>
#include <optional>

#include "engine/nn/batch_feed.h"

namespace sculpt {

struct Evaluation {
  double loss = 0;      ///< mean over images, without label smoothing
  double accuracy = 0;  ///< fraction of images, in [0, 1]
};

/// Returns no value if `stop` returned true before the end, or if the phase (core/phase.h) was
/// interrupted. Changes the network's loss sums.
std::optional<Evaluation> evaluate(Network& network, BatchFeed& feed,
                                   const std::function<bool()>& stop);

}  // namespace sculpt
