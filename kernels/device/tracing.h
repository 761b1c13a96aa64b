#pragma once
// Marks ranges in the timeline of a profiler (Nsight), and limits which part of a run it records.

namespace sculpt::kernels {

/// All hooks are null on backends that no such profiler observes.
struct TraceHooks {
  void (*push)(const char* name) = nullptr;  ///< begins a range on this thread
  void (*pop)() = nullptr;                   ///< ends the innermost range
  void (*start_recording)() = nullptr;
  void (*stop_recording)() = nullptr;
};

/// A range that lasts as long as the object.
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
