#pragma once
// Holds the hooks of a run in their order, and updates the run when a hook has changed masks.

#include <vector>

#include "engine/train/hooks/dense_timing_hook.h"
#include "engine/train/hooks/hook.h"
#include "engine/train/hooks/loss_watch.h"
#include "engine/train/hooks/mask_hook.h"
#include "engine/train/hooks/profiler_hook.h"
#include "engine/train/hooks/step_clock.h"

namespace sculpt {

class HookList {
 public:
  /// Makes the trainer's own hooks and adds those of run.parts.hooks. Throws Error if the name of a
  /// hook cannot be used.
  explicit HookList(TrainingRun& run);
  HookList(const HookList&) = delete;
  HookList& operator=(const HookList&) = delete;

  // Each of the following functions calls the function of the same name of all hooks.
  void before_plan_step();
  void before_epoch();
  void before_step();
  void after_step();
  void after_epoch();
  void at_end();

  /// Follows a change of masks by a prune or an intervention of the plan: updates counts, tells the
  /// hooks, and chooses kernels, which is a phase that may be interrupted.
  void follow_plan_step();

  /// Stores what the hooks must remember in the run's state.
  void save_states();
  /// Gives hooks what the run's state holds for them. Throws Error if the state belongs to other
  /// hooks.
  void restore_states();

  LossWatch& loss_watch() { return loss_watch_; }

 private:
  /// Calls function(hook), and follows a change of the mask by the hook.
  template <class Function>
  void call(Hook& hook, const Function& function);
  /// Calls function(hook), which is the function `name`. The hook must not change the mask.
  template <class Function>
  void call_to_look(Hook& hook, const char* name, const Function& function);
  void follow_change();
  void follow_masks();

  TrainingRun& run_;
  HookContext context_;
  ProfilerHook profiler_;
  LossWatch loss_watch_;
  StepClock clock_;
  DenseTimingHook dense_timing_;
  MaskHook mask_hook_;
  std::vector<Hook*> hooks_;  // all hooks in their order
};

}  // namespace sculpt
