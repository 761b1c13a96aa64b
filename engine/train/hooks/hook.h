#pragma once
// Hooks run before and after the steps and epochs of a cycle. A hook may look, measure, or change
// masks. The rules of cycles (engine/masks) run in one hook. Dense timing, the profiler's recording
// and the loss watch are hooks, too.
//
// Order. The hooks of a run form a list: the profiler, the loss watch, the step clock, dense
// timing, the rule of the cycle, then those of RunParts::hooks as they are given. after_ functions
// and masks_changed() are called in this order, before_ functions in the reverse order: the first
// hook of the list is the nearest to the step. Time that the profiler and the loss watch spend
// counts as time of the step.
//
// A step with its hooks has this order:
//   before_step of all hooks · batch, forward, backward, update · the call of stop() · after_step
//   of all hooks · the observer's on_step · a checkpoint, if one is due or the run ends here
// An epoch has this order:
//   before_epoch · the steps · evaluation · the epoch's record · end_epoch() of the optimizer, and
//   end_cycle() at the end of a cycle · after_epoch · a checkpoint
//
// Checkpoints are written between the calls for one step and those for the next. So a resumed run
// goes on with the first call that is later than the checkpoint: before_step and after_step of a
// step, and before_epoch and after_epoch of an epoch, count once in the result, however often the
// run is interrupted. A hook returns from save() what it must remember from one call to the next.
//
// Changes of masks. In before_epoch, before_step, after_step and after_epoch a hook may change
// masks of prunable parameters, to 0 and back to 1, through ParameterArena::edit_masks() or
// set_pattern(), or by a prune(). The arena sets weights and all arrays of the optimizer to exactly
// +0 where the mask is 0; a weight that is kept again starts at 0, and so do its elements of the
// optimizer's arrays, unless the hook then sets them. When the hook returns, the trainer compares
// the arena's pattern and follows: kernels and cost are those of the new mask, dense timing starts
// again, and the best accuracy at the density is forgotten if the number of kept weights is another
// one. The records show the density at the end of each epoch. Dense timing does not start again in
// a cycle with a mask rule.
//
// Weights and gradients. A hook that looks at whole arrays calls ParameterArena::store_dense()
// first. A hook that needs the gradients of masked weights calls
// ParameterArena::full_gradients().request() in before_step, and reads them in after_step.
//
// Limits. A forward pass in a hook changes the network's loss sums, and the hook must restore them
// (Network::loss_sums, set_loss_sums). Rewind checkpoints and final checkpoints hold no values of
// hooks.

#include <string>

#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"
#include "engine/plan/plan.h"
#include "engine/run/run_state.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

struct TrainingRun;

/// The properties of a training step that hooks see. In before_step only `lr` and `last_of_epoch`
/// are known.
struct StepInfo {
  double lr = 0;
  bool last_of_epoch = false;
  int64_t images = 0;
  bool saves = false;     ///< true if a checkpoint inside the epoch follows
  bool stopping = false;  ///< true if the run is saved and ends after this step
  double seconds = 0;     ///< wall time from the batch to the loss watch
  /// True if the kernels are launched one by one, not as one recording. The profiler's hook sets
  /// this.
  bool kernel_by_kernel = false;
  bool full_gradients = false;  ///< true if the step computes the gradients of masked weights, too
};

/// The view of the run that a hook gets. The view is valid only during the call.
class HookContext {
 public:
  explicit HookContext(TrainingRun& run) : run_(run) {}
  HookContext(const HookContext&) = delete;
  HookContext& operator=(const HookContext&) = delete;

  Network& network();
  Optimizer& optimizer();
  /// Returns the run's position and totals. In after_step and after_epoch they include the step or
  /// epoch that has ended. On a device, the epoch's sums of losses and correct answers lag behind
  /// inside an epoch.
  const RunState& state() const;
  const StepInfo& step() const;
  const Plan& plan() const;
  /// Returns the cycle that is being trained. Do not call this in before_plan_step, masks_changed
  /// and at_end, which also run outside of cycles.
  const Cycle& cycle() const;
  int64_t steps_per_epoch() const;
  /// Returns the context that prune() and criteria need.
  ScoreContext score_context() const;

  /// Ends the run with a checkpoint after the present step, as if the run had been interrupted. In
  /// after_epoch, ends the run after the epoch.
  void stop();

 private:
  TrainingRun& run_;
};

/// A hook that lets Interrupted (core/phase.h) leave a call ends the run at the newest checkpoint,
/// and a resumed run makes the call again. A hook whose interrupted work has changed nothing may
/// catch Interrupted and call HookContext::stop() instead; then no work is lost.
class Hook {
 public:
  virtual ~Hook() = default;

  /// Returns the name of the hook in checkpoints and messages. It consists of letters, digits, '-'
  /// and '_'.
  virtual std::string name() const = 0;

  /// Called when a step of the plan begins, or goes on after a resume.
  virtual void before_plan_step(const PlanStep&, HookContext&) {}
  virtual void before_epoch(HookContext&) {}
  virtual void before_step(HookContext&) {}
  virtual void after_step(HookContext&) {}
  /// Called after the epoch has been recorded, and evaluated if an evaluation was due.
  virtual void after_epoch(HookContext&) {}
  /// Called after a prune of the plan or a hook has changed masks, and after all counts have been
  /// updated.
  virtual void masks_changed(HookContext&) {}
  /// Called after the last step of the plan.
  virtual void at_end(HookContext&) {}

  /// Returns what a resumed run needs in order to compute the same bits. Every checkpoint holds
  /// these values.
  virtual HookValues save() const { return {}; }
  /// Receives what save() returned, before run(), if the run is resumed. Throws Error if the hook
  /// cannot use the values.
  virtual void restore(const HookValues&) {}
};

}  // namespace sculpt
