#pragma once
// Tells a person how a run progresses. Programs read the run folder instead.

#include <cstdint>
#include <string>

#include "engine/plan/plan.h"
#include "engine/run/records.h"
#include "engine/sparse/prune.h"

namespace sculpt {

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  /// Called when a step of the plan begins, or goes on after a resume.
  virtual void on_plan_step(const PlanStep&, const RunState&) {}
  virtual void on_prune(const PruneReport&) {}
  /// Called when the network has been measured after a prune.
  virtual void on_prune_measured(const PruneMetrics&) {}
  /// Called at the end of a cycle whose rule changed masks.
  virtual void on_masks(const MaskReport&) {}
  /// Called when a rule has met a difficulty that the user can do something about.
  virtual void on_warning(const std::string&) {}
  /// Called after every optimizer step. The sums in the state are those of the present epoch.
  /// `mean_loss` is the mean over the images of the epoch whose loss has been read; not a number
  /// before the first.
  virtual void on_step(const RunState&, double /*mean_loss*/) {}
  virtual void on_evaluate() {}
  virtual void on_epoch(const EpochMetrics&) {}
};

}  // namespace sculpt
