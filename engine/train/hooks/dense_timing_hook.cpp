#include "engine/train/hooks/dense_timing_hook.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/memory_use.h"
#include "engine/core/phase.h"

namespace sculpt {

void DenseTimingHook::before_plan_step(const PlanStep& step, HookContext&) {
  if (std::holds_alternative<PruneStep>(step)) end();
}

void DenseTimingHook::masks_changed(HookContext&) {
  // A rule that keeps the number of weights of each layer changes no time, so that what was
  // measured before still holds.
  const MaskRule* const rule = run_.mask_rule();
  if (rule != nullptr && !rule->changes_density) return;
  end();
  run_.state.dense.masks_change();
  refused_ = false;
}

void DenseTimingHook::after_step(HookContext& context) {
  DenseSeconds& dense = run_.state.dense;
  dense.seconds_current_mask += run_.step.seconds;
  if (!run_.parts.network.skips_masked()) {
    dense.ratio = 1;
    return;
  }
  ++dense.sparse_steps;
  const bool wanted = std::isnan(dense.ratio) && run_.parts.network.execution().dense_timing;
  if (!wanted || refused_ || run_.step.stopping) return;
  try {
    compare();
  } catch (const Interrupted&) {
    context.stop();  // the interrupted comparison has changed nothing in the run
  }
}

void DenseTimingHook::compare() {
  const auto begin = std::chrono::steady_clock::now();
  // Two steps are not compared: the first step with a mask builds the lists of kept weights, and
  // the first step after the network was copied stores the weights again. Both take longer than
  // other steps.
  if (!timing_)
    start();
  else if (std::exchange(settled_, true))
    timing_->compare(run_.step.images, run_.step.seconds);
  if (refused_) return;
  if (timing_ && timing_->done()) end();
  run_.state.dense.measuring += elapsed_seconds(begin);
}

void DenseTimingHook::start() {
  if (!can_become_known() || !can_copy(run_.parts.network)) {
    refused_ = true;
    return;
  }
  settled_ = false;
  run_.peak_memory_before = std::max(run_.peak_memory_before, peak_memory_bytes());
  timing_.emplace(run_.parts.network, run_.parts.make_optimizer, run_.settings.train.optim,
                  steps_with_masks().front());
}

void DenseTimingHook::end() {
  if (!timing_) return;
  run_.state.dense.ratio = timing_->ratio();
  timing_.reset();
  restart_peak_memory();  // the memory of the copy does not count as memory of the run
}

std::vector<int64_t> DenseTimingHook::steps_with_masks() const {
  const RunState& state = run_.state;
  const int64_t steps_per_epoch = run_.parts.train.steps_per_epoch();
  std::vector<int64_t> steps =
      epochs_between_prunes(run_.settings.plan, static_cast<size_t>(state.plan_step));
  for (int64_t& count : steps)
    count *= steps_per_epoch;
  steps.front() -= state.cycle_epoch * steps_per_epoch + state.epoch_step;
  return steps;
}

bool DenseTimingHook::density_will_change() const {
  const Plan& plan = run_.settings.plan;
  return std::any_of(plan.begin() + run_.state.plan_step, plan.end(), [](const PlanStep& step) {
    const auto* const cycle = std::get_if<Cycle>(&step);
    return cycle != nullptr && cycle->density > 0;
  });
}

bool DenseTimingHook::can_become_known() const {
  if (std::isnan(run_.state.dense.dense_seconds_before) || density_will_change()) return false;
  const std::vector<int64_t> steps = steps_with_masks();
  if (steps.front() < DenseTiming::kStepsNeeded) return false;
  // Later masks keep fewer weights, so layers skip masked weights then, too. The first step with a
  // mask makes the object.
  return std::ranges::all_of(steps.begin() + 1, steps.end(), [](int64_t count) {
    return count == 0 || count > DenseTiming::kStepsNeeded;
  });
}

}  // namespace sculpt
