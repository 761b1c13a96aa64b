#pragma once
// TrainingRun holds what the pieces of the training loop share: the trainer, the epoch loop, the
// writer of records and checkpoints, and the hooks.

#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>

#include "engine/masks/mask_rule.h"
#include "engine/train/hooks/hook.h"
#include "engine/train/run_parts.h"

namespace sculpt {

inline double elapsed_seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct TrainingRun {
  TrainingRun(RunParts run_parts, RunSettings run_settings);

  RunParts parts;
  RunSettings settings;
  std::unique_ptr<Optimizer> optimizer;
  RunState state;
  StepInfo step;                ///< the step that is running, or the last one
  double mean_loss = NAN;       ///< mean over the images of the epoch whose loss is known
  bool stop_requested = false;  ///< set by a hook

  // count_masks() computes these numbers for the present masks.
  int64_t kept = 0;                          ///< prunable weights that are kept
  double flops_per_image = 0;                ///< training FLOPs of one image
  double full_gradient_flops_per_image = 0;  ///< what full gradients add to them

  /// Peak of memory use before the measurement was last restarted (restart_peak_memory()).
  int64_t peak_memory_before = 0;

  ParameterArena& parameters() { return parts.network.parameters(); }
  const ParameterArena& parameters() const { return parts.network.parameters(); }
  bool on_device() const { return parts.backend.memory != nullptr; }
  const PlanStep& plan_step() const { return settings.plan[static_cast<size_t>(state.plan_step)]; }
  /// Returns the plan's present step, which must be a cycle.
  const Cycle& cycle() const { return std::get<Cycle>(plan_step()); }
  /// Returns the rule that changes masks in the plan's present step; null if there is none.
  const MaskRule* mask_rule() const;
  /// Returns the learning rate of a step of the present epoch.
  double lr_at(int64_t epoch_step) const;
  ScoreContext score_context() const;

  /// Makes ranks whose batch norm has seen different images agree on the running statistics. Call
  /// it before the statistics are used or stored.
  void agree_on_statistics();
  /// Throws Error if the ranks no longer have the same network; see require_same_parameters().
  void require_same_on_all_ranks(const std::string& when);

  /// Returns the density of the present masks; 1 if no weight can be pruned.
  double density() const {
    const int64_t prunable = parameters().prunable_count();
    return prunable > 0 ? static_cast<double>(kept) / static_cast<double>(prunable) : 1;
  }

  /// Describes the present masks, which a rule or an intervention of this name has made.
  MaskReport mask_report(const std::string& changed_by) const;

  /// Counts the kept weights and the cost of the present masks.
  void count_masks();
};

}  // namespace sculpt
