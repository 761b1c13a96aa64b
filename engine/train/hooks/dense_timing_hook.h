#pragma once
// This hook finds out how long the run's steps would have taken on dense kernels.

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/train/hooks/dense_timing.h"
#include "engine/train/training_run.h"

namespace sculpt {

/// Adds each step's time to RunState::dense. For each state of the masks with which layers skip
/// masked weights, also measures once how much longer dense kernels take.
class DenseTimingHook : public Hook {
 public:
  explicit DenseTimingHook(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "dense-timing"; }
  /// Ends the measurement before a prune, and frees the memory of the copy.
  void before_plan_step(const PlanStep& step, HookContext&) override;
  void after_step(HookContext&) override;
  void masks_changed(HookContext&) override;
  void at_end(HookContext&) override { end(); }

 private:
  void compare();
  void start();
  void end();
  /// Returns the number of steps left with the present masks, and of the steps with each of the
  /// later masks that the plan prunes to.
  std::vector<int64_t> steps_with_masks() const;
  /// Returns true if the present or a later cycle has a rule that changes the density. Each of its
  /// densities would need a measurement of its own, with too few steps for it.
  bool density_will_change() const;
  /// Returns true if the time on dense kernels can become known. It cannot if earlier masks were
  /// not compared, or if there are masks with too few steps for a comparison.
  bool can_become_known() const;

  TrainingRun& run_;
  std::optional<DenseTiming> timing_;  // exists while the hook measures
  bool settled_ = false;               // true after the first step since the network was copied
  bool refused_ = false;               // true without memory for a copy, or with too few steps
};

}  // namespace sculpt
