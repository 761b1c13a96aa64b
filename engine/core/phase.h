#pragma once
// A phase is long work outside of training steps (loading data, scoring weights, measuring kernels,
// evaluating). A program may watch phases, to show their progress and to interrupt them. Libraries
// only announce phases. The program decides what a person sees and which signals end a phase.

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>

namespace sculpt {

/// Thrown out of a phase that the watcher interrupts. It is not an Error, because nothing went
/// wrong and handlers of errors must not swallow it. Work that was started in the phase is dropped;
/// results of a run that were complete before the phase are not changed.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// The progress of a phase.
struct PhaseState {
  std::string name;   ///< the work, in words for people: "making images"
  int64_t done = 0;   ///< completed parts
  int64_t total = 0;  ///< all parts; 0: unknown
  std::chrono::steady_clock::time_point start;
};

class PhaseWatcher {
 public:
  virtual ~PhaseWatcher() = default;
  /// Called on the thread that opened the phase, usually many times a second. May throw
  /// Interrupted, which ends the phase.
  virtual void on_phase(const PhaseState& phase) = 0;
  /// Called when the phase has ended, normally or by an exception.
  virtual void on_phase_end(const PhaseState& phase) = 0;
};

/// Makes `watcher` the watcher of the process (null: no watcher) and returns the previous one. Must
/// not be called while a phase is open.
PhaseWatcher* watch_phases(PhaseWatcher* watcher);

/// A phase that is open while the object lives. Phases may contain other phases; the watcher sees
/// the innermost one.
class Phase {
 public:
  /// `total` is the number of parts that advance() will count; 0 if it is not known.
  explicit Phase(std::string name, int64_t total = 0);
  ~Phase();
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;

  /// Adds completed parts. Throws Interrupted if the watcher interrupts the phase.
  void advance(int64_t parts = 1);

 private:
  friend void check_stop();

  PhaseState state_;
  Phase* const outer_;
};

/// Calls the watcher, which may throw Interrupted. Outside of a phase this function does nothing,
/// so a training step that has begun is always finished. It is cheap enough to be called after each
/// piece of work of a millisecond. On a thread other than the phase's, it does nothing.
void check_stop();

}  // namespace sculpt
