#pragma once
// Shows long phases (engine/core/phase.h) to a person, and ends them when the process is asked to
// end.

#include <chrono>

#include "engine/core/phase.h"

namespace sculpt {

/// On a terminal, a phase of more than a moment is shown as a line that is redrawn. In a file or
/// pipe, a line appears after five seconds and every thirty seconds from then on. Throws
/// Interrupted from inside the phase once interrupted() is true.
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
