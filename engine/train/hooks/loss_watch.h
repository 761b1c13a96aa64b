#pragma once
// The hook that reads the training loss and ends a run whose loss is not finite.

#include <cstdint>
#include <optional>

#include "engine/core/readback.h"
#include "engine/train/training_run.h"

namespace sculpt {

/// After each step on a host, the run's sums of the epoch are those of all its steps. A device is
/// not waited for: there the loss of some steps ago is read, and the sums are complete only after
/// the last step of an epoch and where a checkpoint follows. Throws Divergence if a loss is
/// infinite or not a number.
class LossWatch : public Hook {
 public:
  explicit LossWatch(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "loss-watch"; }
  void after_step(HookContext&) override;

  /// Call this before the first step of an epoch, and where a run goes on inside an epoch.
  void enter_epoch();
  /// Completes the sums of the epoch so far; waits for a device.
  void complete_sums();

 private:
  void read_pending();

  /// The loss after an earlier step of the epoch, which is being copied from the device.
  struct PendingLoss {
    int64_t step;    ///< of the epoch
    int64_t images;  ///< up to then
    Readback<kernels::LossSums> sums;
  };

  TrainingRun& run_;
  std::optional<PendingLoss> pending_;
};

}  // namespace sculpt
