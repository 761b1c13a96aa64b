#include "engine/core/phase.h"

#include <utility>

namespace sculpt {
namespace {

PhaseWatcher* the_watcher = nullptr;
thread_local Phase* innermost = nullptr;

}  // namespace

PhaseWatcher* watch_phases(PhaseWatcher* watcher) {
  return std::exchange(the_watcher, watcher);
}

Phase::Phase(std::string name, int64_t total)
    : state_{std::move(name), 0, total, std::chrono::steady_clock::now()},
      outer_(std::exchange(innermost, this)) {}

Phase::~Phase() {
  innermost = outer_;
  if (the_watcher != nullptr) the_watcher->on_phase_end(state_);
}

void Phase::advance(int64_t parts) {
  state_.done += parts;
  if (the_watcher != nullptr) the_watcher->on_phase(state_);
}

void check_stop() {
  if (the_watcher != nullptr && innermost != nullptr) the_watcher->on_phase(innermost->state_);
}

}  // namespace sculpt
