#include "kernels/cuda/device/timing.h"

#include <algorithm>
#include <array>

#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/device/wait.h"

namespace sculpt::kernels::cuda {
namespace {

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "making a CUDA event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "timing a kernel"); }
  double microseconds_since(const Event& start) {
    check(wait_for(event_), "waiting for a timed kernel");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start.event_, event_), "timing a kernel");
    return 1e3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

double median_microseconds(const std::function<void()>& launch, void* stream) {
  constexpr int kWarmUps = 3;
  constexpr int kLaunches = 10;  // per sample, because small kernels take less time than an event
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const DeviceGuard guard;
  for (int i = 0; i < kWarmUps; ++i)
    launch();
  Event start, end;
  std::array<double, 5> samples;
  for (double& sample : samples) {
    start.record(cuda_stream);
    for (int i = 0; i < kLaunches; ++i)
      launch();
    end.record(cuda_stream);
    sample = end.microseconds_since(start) / kLaunches;
  }
  const auto middle = samples.begin() + samples.size() / 2;
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

}  // namespace sculpt::kernels::cuda
