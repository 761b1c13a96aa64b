#pragma once
// Shows the progress of a run to a person: a bar in one line on a terminal, and one line per epoch
// elsewhere.

#include <chrono>
#include <string>

#include "engine/train/observer.h"

namespace sculpt {

/// Returns a text such as "1h02m", "3m12s" or "4.2s".
std::string duration_text(double seconds);

/// Returns a bar such as "[######..........]" for a share in [0, 1], with `width` characters
/// between the brackets.
std::string bar_text(double share, size_t width = 16);

class Progress : public RunObserver {
 public:
  /// Writes to standard output. `steps_per_epoch` counts the steps of an epoch; `measured_on` names
  /// the images behind every accuracy, "test" or "validation".
  Progress(const Plan& plan, int64_t steps_per_epoch, std::string measured_on);
  ~Progress() override;

  void on_plan_step(const PlanStep& step, const RunState& state) override;
  void on_prune(const PruneReport& report) override;
  void on_prune_measured(const PruneMetrics& metrics) override;
  void on_masks(const MaskReport& report) override;
  void on_warning(const std::string& warning) override;
  void on_step(const RunState& state, double mean_loss) override;
  void on_evaluate() override;
  void on_epoch(const EpochMetrics& metrics) override;
  /// Removes the bar, so that other lines can follow.
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const std::string& what);
  std::string eta() const;

  const std::string measured_on_;
  int64_t total_steps_ = 0;
  int64_t cycles_ = 0;
  int64_t cycle_epochs_ = 0;  // epochs of the present cycle
  bool in_cycle_ = false;     // true if the present step of the plan is a cycle
  bool started_ = false;
  RunState first_;  // the state at the beginning of this session
  RunState now_;
  Clock::time_point session_start_, last_draw_;
  std::string accuracy_;  // the result of the last evaluation
};

}  // namespace sculpt
