#pragma once
// This hook changes masks by the rule of a cycle (engine/masks/mask_rule.h).

#include "engine/masks/mask_rule.h"
#include "engine/train/training_run.h"

namespace sculpt {

/// The trainer makes this hook if a cycle of the plan has a rule. The hook remembers nothing: what
/// it does is a function of the plan, the position in it, the network, and
/// RunState::cycle_density.
class MaskHook : public Hook {
 public:
  explicit MaskHook(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "mask-rule"; }
  /// Requests the gradients of all weights if the masks change after the step and if the rule reads
  /// them.
  void before_step(HookContext&) override;
  /// Changes the masks after the ordinary update of the step. If the rule trains thresholds, they
  /// are off from then on; warns if they have left another number of weights than is kept. Throws
  /// Divergence if a score is not a number.
  void after_step(HookContext&) override;

 private:
  /// Returns the position in the schedule after `epoch_step` steps of the present epoch.
  SchedulePosition position_after(int64_t epoch_step) const;
  bool changes_after(const MaskRule& rule, const SchedulePosition& position) const;

  TrainingRun& run_;
};

}  // namespace sculpt
