#include "engine/train/hooks/loss_watch.h"

#include "engine/train/divergence.h"

namespace sculpt {
namespace {

// The loss of this many steps ago has long arrived, so reading it does not wait for the device. The
// host never runs further ahead of the device than twice this number of steps.
constexpr int64_t kStepsBetweenReads = 32;

}  // namespace

void LossWatch::enter_epoch() {
  const EpochSums& sums = run_.state.sums;
  run_.parts.network.set_loss_sums({sums.loss, sums.correct});
  pending_.reset();
  run_.mean_loss = sums.loss / static_cast<double>(sums.images);  // NaN before the first step
}

void LossWatch::after_step(HookContext&) {
  const StepInfo& step = run_.step;
  if (!run_.on_device() || step.last_of_epoch || step.stopping || step.saves)
    complete_sums();
  else
    read_pending();
}

void LossWatch::complete_sums() {
  const kernels::LossSums now = run_.parts.network.loss_sums();
  EpochSums& sums = run_.state.sums;
  sums.loss = now.loss;
  sums.correct = now.correct;
  // Each of several ranks has summed up its own losses so far. From here on, rank 0 adds to the
  // total, as after a resume, so that the last bits do not depend on where a run was interrupted.
  if (run_.parts.ranks.size() > 1) run_.parts.network.set_loss_sums(now);
  run_.mean_loss = now.loss / static_cast<double>(sums.images);
  require_finite("the training loss", now.loss);
}

void LossWatch::read_pending() {
  const RunState& state = run_.state;
  if (state.epoch_step % kStepsBetweenReads != 0) return;
  if (pending_) {
    const kernels::LossSums then = run_.parts.network.add_up(pending_->sums.get());
    run_.state.sums.loss = then.loss;  // complete_sums() replaces this sum before it is used
    require_finite("the training loss", then.loss, pending_->step);
    run_.mean_loss = then.loss / static_cast<double>(pending_->images);
  }
  pending_ = PendingLoss{state.epoch_step, state.sums.images, run_.parts.network.read_loss_sums()};
}

}  // namespace sculpt
