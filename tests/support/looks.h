#pragma once
// Watches the phases of a test, and interrupts one of them.

#include <set>
#include <string>

#include "engine/core/phase.h"

namespace sculpt::testing {

/// Counts looks, and interrupts at the one with number `moment`; -1: never.
class Looks : public PhaseWatcher {
 public:
  explicit Looks(int64_t moment = -1) : moment_(moment), before_(watch_phases(this)) {}
  ~Looks() override { watch_phases(before_); }

  void on_phase(const PhaseState& phase) override {
    names.insert(phase.name);
    last = phase;
    if (looks++ == moment_) throw Interrupted();
  }
  void on_phase_end(const PhaseState&) override { ++ends; }

  int64_t looks = 0, ends = 0;
  PhaseState last;
  std::set<std::string> names;

 private:
  const int64_t moment_;
  PhaseWatcher* const before_;
};

}  // namespace sculpt::testing
