#pragma once
// This hook reads the training loss and ends a run whose loss is not finite.

#include <cstdint>
#include <optional>

#include "engine/core/readback.h"
#include "engine/train/training_run.h"

namespace sculpt {

/// On a host, the run's sums of the epoch include every finished step. On a device, the hook does
/// not wait for the loss: it reads the loss of some steps ago, and completes the sums only after
/// the last step of an epoch and before a checkpoint. Throws Divergence if a loss is infinite or
/// not a number.
class LossWatch : public Hook {
 public:
  explicit LossWatch(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "loss-watch"; }
  void after_step(HookContext&) override;

  /// Call this before the first step of an epoch, and when a resumed run goes on inside an epoch.
  void enter_epoch();
  /// Completes the sums of the epoch so far; waits for a device.
  void complete_sums();

 private:
  void read_pending();

  /// The loss after an earlier step of the epoch, which is being copied from the device.
  struct PendingLoss {
    int64_t step;    ///< step of the epoch
    int64_t images;  ///< images of the epoch up to this step
    Readback<kernels::LossSums> sums;
  };

  TrainingRun& run_;
  std::optional<PendingLoss> pending_;
};

}  // namespace sculpt
