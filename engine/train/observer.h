#pragma once
// What a run tells a person while it works. Machines read the run folder instead.

#include <cstdint>

#include "engine/plan/plan.h"
#include "engine/run/records.h"
#include "engine/sparse/prune.h"

namespace sculpt {

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  /// A step of the plan begins, or goes on after a resume.
  virtual void on_plan_step(const PlanStep&, const RunState&) {}
  virtual void on_prune(const PruneReport&) {}
  /// The network that a prune left has been measured.
  virtual void on_prune_measured(const PruneMetrics&) {}
  /// After every optimizer step; sums are those of the present epoch.
  /// `mean_loss` of the epoch, as far as it has been seen; not a number before.
  virtual void on_step(const RunState&, double /*mean_loss*/) {}
  virtual void on_evaluate() {}
  virtual void on_epoch(const EpochMetrics&) {}
};

}  // namespace sculpt
