#pragma once
// Launches the same work step after step. The first step launches kernel by kernel; later steps
// launch one recording (a CUDA graph) where the backend supports recordings.

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
  /// of images, only values in the backend's memory may differ. A replay does not call launches(),
  /// so the state that launches() sets on the host (a network's batch and mode) is that of the last
  /// real call; the caller must set it again before using anything that depends on it.
  void run(int64_t images, const std::function<void()>& launches);

  /// Returns the number of steps that were launched as recordings.
  int64_t replayed() const { return replayed_; }

 private:
  kernels::RecordingHooks hooks_;
  std::map<int64_t, void*> recordings_;  // per number of images; null until the second step
  int64_t replayed_ = 0;
};

}  // namespace sculpt
