#pragma once
// Hooks run before and after the steps and epochs of a cycle. A hook may look, measure, or change
// masks; each method that changes masks during training is one hook. Dense timing, the profiler's
// recording and the loss watch are hooks, too.
//
// Order. The hooks of a run form a list: the profiler, the loss watch, the step clock, dense
// timing, then those of RunParts::hooks as they are given. after_ functions and masks_changed() are
// called in this order, before_ functions in the reverse order: the first hook of the list is the
// nearest to the step. Time that the profiler and the loss watch spend counts as time of the step.
//
// A step with its hooks, and what follows:
//   before_step of all hooks · batch, forward, backward, update · stop() is asked · after_step of
//   all hooks · the observer hears of the step · a checkpoint, if one is due or the run ends here
// An epoch:
//   before_epoch · the steps · evaluation · the epoch's record · after_epoch · a checkpoint
//
// Checkpoints are written between the calls for one step and those for the next. So a resumed run
// goes on with the first call that the checkpoint does not know of: before_step and after_step of a
// step, and before_epoch and after_epoch of an epoch, count once in the result, however often the
// run is interrupted. What a hook must remember from one call to another one is in save().
//
// Changes of masks. In before_epoch, before_step, after_step and after_epoch a hook may change
// masks of prunable parameters, to 0 and back to 1, and then calls HookContext::masks_changed().
// When the hook returns, the trainer follows: weights and all arrays of the optimizer are exactly
// +0 where the mask is 0, kernels and cost are those of the new masks, dense timing starts again,
// and the best accuracy at the density is forgotten if the number of kept weights is another one. A
// weight that is kept again is 0 and so are its elements of the optimizer's arrays, unless the hook
// sets them. The records show the density at the end of each epoch.
//
// Limits. Gradients of masked weights are computed by dense kernels only: a hook that needs them
// runs with train.sparse = "off", or computes them on a copy of the network (Network::rebuild). A
// forward pass in a hook changes the network's loss sums: the hook puts them back
// (Network::loss_sums, set_loss_sums). Files of rewinds and final checkpoints hold nothing of
// hooks.

#include <string>

#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"
#include "engine/plan/plan.h"
#include "engine/run/run_state.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

struct TrainingRun;

/// A training step as hooks see it. In before_step only `lr` and `last_of_epoch` are known.
struct StepInfo {
  double lr = 0;
  bool last_of_epoch = false;
  int64_t images = 0;
  bool saves = false;     ///< a checkpoint inside the epoch follows
  bool stopping = false;  ///< the run is saved and ends after this step
  double seconds = 0;     ///< wall time from the batch to the loss watch
  /// Set by the profiler's hook: launches the kernels one by one, not as one recording.
  bool kernel_by_kernel = false;
};

/// The view of the run that a hook gets. It is valid during a call.
class HookContext {
 public:
  explicit HookContext(TrainingRun& run) : run_(run) {}
  HookContext(const HookContext&) = delete;
  HookContext& operator=(const HookContext&) = delete;

  Network& network();
  Optimizer& optimizer();
  /// Position and totals. In after_step and after_epoch they include the step or epoch that has
  /// ended. On a device, the epoch's sums of losses and correct answers lag behind inside an epoch.
  const RunState& state() const;
  const StepInfo& step() const;
  const Plan& plan() const;
  /// The cycle that is trained. Not in before_plan_step, masks_changed and at_end, which are called
  /// outside of cycles, too.
  const Cycle& cycle() const;
  int64_t steps_per_epoch() const;
  /// The context that prune() and criteria need.
  ScoreContext score_context() const;

  /// Says that the hook has changed masks; see "Changes of masks" above.
  void masks_changed() { masks_changed_ = true; }
  /// Ends the run with a checkpoint, as if it had been interrupted, after the present step, or
  /// after the epoch if this is called in after_epoch.
  void stop();

 private:
  friend class HookList;

  TrainingRun& run_;
  bool masks_changed_ = false;
};

/// A hook that lets Interrupted (core/phase.h) out of a call ends the run at the newest checkpoint,
/// from which a resume calls it again. A hook whose interrupted work has changed nothing may catch
/// Interrupted and call HookContext::stop() instead: then nothing is lost.
class Hook {
 public:
  virtual ~Hook() = default;

  /// Names the hook in checkpoints and messages: letters, digits, '-' and '_'.
  virtual std::string name() const = 0;

  /// A step of the plan begins, or goes on after a resume.
  virtual void before_plan_step(const PlanStep&, HookContext&) {}
  virtual void before_epoch(HookContext&) {}
  virtual void before_step(HookContext&) {}
  virtual void after_step(HookContext&) {}
  /// The epoch has been evaluated, if it was to be, and recorded.
  virtual void after_epoch(HookContext&) {}
  /// Masks have changed, by a prune of the plan or by a hook, and all counts follow them already.
  virtual void masks_changed(HookContext&) {}
  /// All steps of the plan are done.
  virtual void at_end(HookContext&) {}

  /// Returns what a resumed run needs in order to go on with the same bits. Every checkpoint holds
  /// these values.
  virtual HookValues save() const { return {}; }
  /// Receives what save() returned, before run(), if the run is resumed. Throws Error if the values
  /// cannot be used.
  virtual void restore(const HookValues&) {}
};

}  // namespace sculpt
