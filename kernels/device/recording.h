#pragma once
// Work that a device repeats. It is recorded once and then launched as one unit (a CUDA graph),
// which avoids the cost of launching each kernel.

#include <functional>

namespace sculpt::kernels {

/// All hooks are null where launches cost too little to be worth recording.
struct RecordingHooks {
  /// Calls launches() and records its kernels without executing them. launches() may neither wait
  /// for the device nor allocate device memory, and the values that host code computes in it are
  /// fixed from then on. Throws what launches() throws, and Error if the device refuses to record.
  void* (*record)(const std::function<void()>& launches) = nullptr;
  /// Executes a recording after everything that was launched before.
  void (*replay)(void* recording) = nullptr;
  void (*discard)(void* recording) = nullptr;
};

}  // namespace sculpt::kernels
