#include "kernels/cuda/device/side_stream.h"

#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/device/stream.h"
#include "kernels/cuda/device/wait.h"

namespace sculpt::kernels::cuda {
namespace {

/// The stream and the events that order it with the backend's. An event may be recorded again while
/// work still waits for its earlier record.
struct Side {
  Side() {
    const DeviceGuard guard;
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "asking for stream priorities");
    // A sum has few blocks, which must not wait behind those of large kernels.
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest),
          "creating a CUDA stream");
    for (cudaEvent_t* event : {&forked, &joined})
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "creating a CUDA event");
  }

  cudaStream_t stream = nullptr;
  cudaEvent_t forked = nullptr, joined = nullptr;
};

Side& side() {
  static Side& the_side = *new Side;  // never destroyed: CUDA may be unloaded first
  return the_side;
}

/// Makes `to` wait for the work that `from` has so far.
void order(cudaStream_t from, cudaEvent_t event, cudaStream_t to) {
  const DeviceGuard guard;
  check(cudaEventRecord(event, from), "recording a CUDA event");
  check(cudaStreamWaitEvent(to, event, 0), "waiting for a CUDA event");
}

void* stream() {
  return side().stream;
}

void fork() {
  order(backend_stream(), side().forked, side().stream);
}

void join() {
  order(side().stream, side().joined, backend_stream());
}

}  // namespace

const SideStream& side_stream() {
  static constexpr SideStream kSideStream = {stream, fork, join, watch_waits, seconds_launching};
  return kSideStream;
}

}  // namespace sculpt::kernels::cuda
