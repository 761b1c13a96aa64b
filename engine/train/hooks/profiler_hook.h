#pragma once
// This hook tells an attached profiler when to record.

#include "engine/train/training_run.h"

namespace sculpt {

/// Records the steps that RunSettings::profiled_steps names. The kernels of these steps are
/// launched one by one, so that the profiler sees the ranges of the ops.
class ProfilerHook : public Hook {
 public:
  explicit ProfilerHook(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "profiler"; }
  void before_step(HookContext&) override {
    if (!run_.settings.profiled_steps) return;
    const auto [first, last] = *run_.settings.profiled_steps;
    const int64_t number = run_.state.steps;
    run_.step.kernel_by_kernel = first <= number && number <= last;
    const kernels::TraceHooks& trace = run_.parts.backend.trace;
    if (number == first && trace.start_recording) trace.start_recording();
  }
  void after_step(HookContext&) override {
    if (!run_.settings.profiled_steps) return;
    const kernels::TraceHooks& trace = run_.parts.backend.trace;
    // The number of steps includes this step already.
    const bool was_last = run_.state.steps == run_.settings.profiled_steps->second + 1;
    if (was_last && trace.stop_recording) trace.stop_recording();
  }

 private:
  TrainingRun& run_;
};

}  // namespace sculpt
