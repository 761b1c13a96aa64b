#pragma once
// Long phases outside of training steps (loading data, scoring weights, measuring kernels,
// evaluating): a program may watch them, to show how far they are and to interrupt them. Libraries
// only announce phases; the program decides what a person sees and which signals end one.

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>

namespace sculpt {

/// Thrown out of a phase that the watcher interrupts. It is not an Error: nothing went wrong, and
/// no handler of errors may swallow it. What was begun in the phase is given up; results of a run
/// that were complete before the phase are not touched.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// How far a phase is.
struct PhaseState {
  std::string name;   ///< what is being done, for a person: "making images"
  int64_t done = 0;   ///< parts done
  int64_t total = 0;  ///< parts in all; 0: unknown
  std::chrono::steady_clock::time_point start;
};

class PhaseWatcher {
 public:
  virtual ~PhaseWatcher() = default;
  /// Called on the thread that opened the phase, many times a second as a rule. May throw
  /// Interrupted; the phase then ends.
  virtual void on_phase(const PhaseState& phase) = 0;
  /// The phase has ended, in whichever way.
  virtual void on_phase_end(const PhaseState& phase) = 0;
};

/// Makes `watcher` the process's watcher (null: nobody watches) and returns the one before. Not to
/// be called while a phase is open.
PhaseWatcher* watch_phases(PhaseWatcher* watcher);

/// A phase is open while the object lives. Phases may contain others; the innermost one counts.
class Phase {
 public:
  /// `total`: parts that advance() will count; 0 if it is not known.
  explicit Phase(std::string name, int64_t total = 0);
  ~Phase();
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;

  /// Counts parts as done. Throws Interrupted if the watcher says so.
  void advance(int64_t parts = 1);

 private:
  friend void check_stop();

  PhaseState state_;
  Phase* const outer_;
};

/// Lets the watcher look, and throws Interrupted if it says so. Does nothing outside of a phase: a
/// training step that has begun is finished. Cheap enough to be called after each piece of work of
/// a millisecond; called from other threads than the phase's it does nothing.
void check_stop();

}  // namespace sculpt
