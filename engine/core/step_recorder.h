#pragma once
// Launches the same work step after step. The first step launches kernel by kernel; later steps
// launch one recording (a CUDA graph) where the backend supports recordings.

#include <compare>
#include <cstdint>
#include <functional>
#include <map>

#include "kernels/device/recording.h"

namespace sculpt {

/// Steps of one kind launch the same work.
struct StepKind {
  int64_t images = 0;
  int part = 0;  ///< number of the part, in a step of several parts

  auto operator<=>(const StepKind&) const = default;
};

class StepRecorder {
 public:
  explicit StepRecorder(const kernels::RecordingHooks& hooks) : hooks_(hooks) {}
  ~StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  /// Executes what launches() launches for a step of this kind. Between calls with the same kind,
  /// only values in the backend's memory may differ. A replay does not call launches(),
  /// so the state that launches() sets on the host (a network's batch and mode) is that of the last
  /// real call; the caller must set it again before using anything that depends on it.
  void run(const StepKind& kind, const std::function<void()>& launches);

  /// Forgets all recordings. Call it when steps would launch other work than before.
  void forget();

  /// Returns the number of steps that were launched as recordings.
  int64_t replayed() const { return replayed_; }

 private:
  kernels::RecordingHooks hooks_;
  std::map<StepKind, void*> recordings_;  // null until the second step of the kind
  int64_t replayed_ = 0;
};

}  // namespace sculpt
