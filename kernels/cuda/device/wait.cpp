#include "kernels/cuda/device/wait.h"

#include <atomic>
#include <chrono>
#include <thread>

namespace sculpt::kernels::cuda {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<void (*)(double)> look = nullptr;
std::atomic<Clock::rep> launch_began = 0;  // 0: no launch is under way

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Calls query() until the device is done.
template <class Query>
cudaError_t poll(const Query& query) {
  constexpr double kEager = 0.002;  // short waits are those of every step
  constexpr auto kSleep = std::chrono::microseconds(50);
  constexpr auto kLook = std::chrono::milliseconds(1);
  const auto begin = Clock::now();
  auto looked = begin;
  for (;;) {
    const cudaError_t status = query();
    if (status != cudaErrorNotReady) return status;
    cudaGetLastError();  // "not ready" is not an error, and the next launch must not report it
    const auto now = Clock::now();
    const auto look_now = look.load();
    if (look_now != nullptr && now - looked >= kLook) {
      looked = now;
      look_now(seconds_since(begin));
    }
    if (seconds_since(begin) < kEager)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(kSleep);
  }
}

}  // namespace

cudaError_t wait_for(cudaStream_t stream) {
  if (look == nullptr) return cudaStreamSynchronize(stream);
  return poll([stream] { return cudaStreamQuery(stream); });
}

cudaError_t wait_for(cudaEvent_t event) {
  if (look == nullptr) return cudaEventSynchronize(event);
  return poll([event] { return cudaEventQuery(event); });
}

void watch_waits(void (*new_look)(double seconds)) {
  look = new_look;
}

LaunchMark::LaunchMark() {
  launch_began = Clock::now().time_since_epoch().count();
}

LaunchMark::~LaunchMark() {
  launch_began = 0;
}

double seconds_launching() {
  const Clock::rep began = launch_began;
  return began == 0 ? 0 : seconds_since(Clock::time_point(Clock::duration(began)));
}

}  // namespace sculpt::kernels::cuda
