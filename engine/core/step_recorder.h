#pragma once
// Launches the same work step after step: kernel by kernel the first time, then as one recording
// (a CUDA graph) where the backend has them.

#include <cstdint>
#include <functional>
#include <map>

#include "kernels/device/recording.h"

namespace sculpt {

class StepRecorder {
 public:
  explicit StepRecorder(const kernels::RecordingHooks& hooks) : hooks_(hooks) {}
  ~StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  /// Executes what launches() launches for a batch of `images`. Between calls with the same number
  /// only values in the backend's memory may differ: a replay does not call launches(), so what
  /// host code keeps (a network's batch and mode) is that of the last call, to be set anew before
  /// anything else is asked.
  void run(int64_t images, const std::function<void()>& launches);

  /// Steps that were launched as recordings.
  int64_t replayed() const { return replayed_; }

 private:
  kernels::RecordingHooks hooks_;
  std::map<int64_t, void*> recordings_;  // by images; null until the second step
  int64_t replayed_ = 0;
};

}  // namespace sculpt
