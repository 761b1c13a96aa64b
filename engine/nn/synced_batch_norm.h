#pragma once

#include "engine/nn/network.h"

namespace sculpt {

/// While this object lives, batch norm uses the statistics of whole batches, whatever the number of
/// ranks that share them.
class SyncedBatchNorm {
 public:
  explicit SyncedBatchNorm(Network& network)
      : settings_(network.graph().settings()), before_(settings_.sync_batch_norm) {
    settings_.sync_batch_norm = true;
  }
  ~SyncedBatchNorm() { settings_.sync_batch_norm = before_; }
  SyncedBatchNorm(const SyncedBatchNorm&) = delete;
  SyncedBatchNorm& operator=(const SyncedBatchNorm&) = delete;

 private:
  PassSettings& settings_;
  bool before_;
};

}  // namespace sculpt
