#pragma once
// Loss and accuracy of a network on a whole source, in evaluation mode.

#include <functional>
#include <optional>

#include "engine/nn/batch_feed.h"

namespace sculpt {

struct Evaluation {
  double loss = 0;      ///< mean over images, without label smoothing
  double accuracy = 0;  ///< fraction
};

/// Nothing if `stop` became true on the way, or if its phase (core/phase.h) was interrupted.
/// Changes the network's loss sums.
std::optional<Evaluation> evaluate(Network& network, BatchFeed& feed,
                                   const std::function<bool()>& stop);

}  // namespace sculpt
