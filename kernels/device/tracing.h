#pragma once
// Marks in the timeline of a profiler (Nsight), and the part of a run that it records.

namespace sculpt::kernels {

/// All null where no profiler of ours looks.
struct TraceHooks {
  void (*push)(const char* name) = nullptr;  ///< begins a range on this thread
  void (*pop)() = nullptr;                   ///< ends the innermost one
  void (*start_recording)() = nullptr;
  void (*stop_recording)() = nullptr;
};

/// A range for the life of the object.
class TraceRange {
 public:
  TraceRange(const TraceHooks& hooks, const char* name) : hooks_(hooks) {
    if (hooks_.push) hooks_.push(name);
  }
  ~TraceRange() {
    if (hooks_.pop) hooks_.pop();
  }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

 private:
  const TraceHooks& hooks_;
};

}  // namespace sculpt::kernels
