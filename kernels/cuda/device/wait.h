#pragma once
// All waits of the host for the device. A sum over ranks may never end, so once there are other
// ranks (watch_waits()), the host looks whether the device is done instead of sleeping in the
// driver.

#include <cuda_runtime.h>

namespace sculpt::kernels::cuda {

/// Returns when the work of the stream so far is done, with its status.
cudaError_t wait_for(cudaStream_t stream);
/// Returns when the device has passed the event.
cudaError_t wait_for(cudaEvent_t event);

/// Makes later waits call look() about every millisecond with the seconds of the wait so far. Null:
/// waits sleep in the driver.
void watch_waits(void (*look)(double seconds));

/// Says that the launch of a recording is under way, as long as the object lives. The driver holds
/// up a launch if too many launches wait for their turn.
class LaunchMark {
 public:
  LaunchMark();
  ~LaunchMark();
  LaunchMark(const LaunchMark&) = delete;
  LaunchMark& operator=(const LaunchMark&) = delete;
};
/// Returns how long that launch has lasted; 0 if none is under way. For any thread.
double seconds_launching();

}  // namespace sculpt::kernels::cuda
