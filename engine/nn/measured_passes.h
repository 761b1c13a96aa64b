#pragma once

#include "engine/nn/network.h"

namespace sculpt {

/// While this object lives, passes in training mode measure the network: dropout keeps all
/// elements, and batch norm uses the statistics of whole batches, whatever the number of ranks that
/// share them. All ranks make the object at the same time.
class MeasuredPasses {
 public:
  explicit MeasuredPasses(Network& network)
      : settings_(network.graph().settings()),
        dropout_(settings_.dropout),
        sync_(settings_.sync_batch_norm) {
    // Kernels of a shared batch need the same running statistics on all ranks.
    if (!sync_) network.average_statistics();
    settings_.dropout = false;
    settings_.sync_batch_norm = true;
  }
  ~MeasuredPasses() {
    settings_.dropout = dropout_;
    settings_.sync_batch_norm = sync_;
  }
  MeasuredPasses(const MeasuredPasses&) = delete;
  MeasuredPasses& operator=(const MeasuredPasses&) = delete;

 private:
  PassSettings& settings_;
  const bool dropout_, sync_;
};

}  // namespace sculpt
