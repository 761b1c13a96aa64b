#pragma once
// The hook that finds out how long the run's steps would have taken on dense kernels.

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/train/hooks/dense_timing.h"
#include "engine/train/training_run.h"

namespace sculpt {

/// Counts each step's time in RunState::dense, and measures the ratio that the time on dense
/// kernels had, once for each state of the masks on which layers skip masked weights.
class DenseTimingHook : public Hook {
 public:
  explicit DenseTimingHook(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "dense-timing"; }
  /// Before a prune, the measurement ends and the memory of the copy is freed.
  void before_plan_step(const PlanStep& step, HookContext&) override;
  void after_step(HookContext&) override;
  void masks_changed(HookContext&) override;
  void at_end(HookContext&) override { end(); }

 private:
  void compare();
  void start();
  void end();
  /// Returns the steps that are left with the present masks, and the steps with each of the later
  /// masks that the plan knows of.
  std::vector<int64_t> steps_with_masks() const;
  /// Returns true if the time on dense kernels can become known. It cannot if earlier masks were
  /// not compared, or if there are masks with too few steps for a comparison.
  bool can_become_known() const;

  TrainingRun& run_;
  std::optional<DenseTiming> timing_;  // while it measures
  bool settled_ = false;               // has a step been run since the network was copied?
  bool refused_ = false;               // with these masks: no memory, or too few steps
};

}  // namespace sculpt
