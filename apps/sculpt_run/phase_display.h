#pragma once
// Shows long phases (engine/core/phase.h) to a person, and ends them when the process is asked to
// end.

#include <chrono>
#include <thread>

#include "engine/core/phase.h"

namespace sculpt {

/// On a terminal, a phase of more than a moment is shown as a line that is redrawn. In a file or
/// pipe, a line appears after five seconds and every thirty seconds from then on. Phases of the
/// thread that made the object are shown.
class PhaseDisplay : public PhaseWatcher {
 public:
  /// If `ends_phases` is true, Interrupted is thrown from inside a phase once interrupted() is
  /// true.
  explicit PhaseDisplay(bool ends_phases = true);
  ~PhaseDisplay() override;

  void on_phase(const PhaseState& phase) override;
  void on_phase_end(const PhaseState& phase) override;

 private:
  using Clock = std::chrono::steady_clock;
  PhaseWatcher* const before_;
  const bool ends_phases_;
  const std::thread::id shown_thread_;
  Clock::time_point last_shown_;
  bool drawn_ = false;
};

}  // namespace sculpt
