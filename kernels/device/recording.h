#pragma once
// Work that a device does again and again: recorded once and launched as one (a CUDA graph), which
// spares it the launches of its kernels.

#include <functional>

namespace sculpt::kernels {

/// All null where launching costs nothing worth sparing.
struct RecordingHooks {
  /// Calls launches(), whose kernels are recorded and not executed. It may neither wait for the
  /// device nor allocate its memory, and what host code computes in it is fixed from then on.
  /// Throws what launches() throws, and Error if the device refuses.
  void* (*record)(const std::function<void()>& launches) = nullptr;
  /// Executes a recording, after everything launched before.
  void (*replay)(void* recording) = nullptr;
  void (*discard)(void* recording) = nullptr;
};

}  // namespace sculpt::kernels
