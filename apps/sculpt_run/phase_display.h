#pragma once
// Shows long phases (engine/core/phase.h) to a person and ends them when the process is asked to.

#include <chrono>

#include "engine/core/phase.h"

namespace sculpt {

/// On a terminal a phase of more than a moment is a line that is redrawn; elsewhere it is a line
/// after five seconds and one every thirty seconds from then on. Throws Interrupted out of the
/// phase once interrupted() is true.
class PhaseDisplay : public PhaseWatcher {
 public:
  PhaseDisplay();
  ~PhaseDisplay() override;

  void on_phase(const PhaseState& phase) override;
  void on_phase_end(const PhaseState& phase) override;

 private:
  using Clock = std::chrono::steady_clock;
  PhaseWatcher* const before_;
  Clock::time_point last_shown_;
  bool drawn_ = false;
};

}  // namespace sculpt
