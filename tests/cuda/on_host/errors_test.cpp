// The message of a CUDA error names the kernels that may have failed. CTest runs these tests with
// SCULPT_CUDA_SYNC unset, "0", empty and "1".

#include <cstdlib>
#include <doctest/doctest.h>
#include <string>

#include "kernels/common/check.h"
#include "kernels/cuda/device/backend.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/stream.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::cuda;
using sculpt::Error;

__global__ void innocent_kernel() {}

/// A kernel counts as failed while an object of this class exists.
struct FailedKernel {
  FailedKernel() { cuda_on_host::fail_as_if_by_kernel(cudaErrorMisalignedAddress); }
  ~FailedKernel() { cuda_on_host::fail_as_if_by_kernel(cudaSuccess); }
};

bool is_waiting_asked_for() {
  const char* const value = std::getenv("SCULPT_CUDA_SYNC");
  return value != nullptr && std::string(value) == "1";
}

void launch() {
  SCULPT_LAUNCH(innocent_kernel, 1, 1, 0, backend_stream());
}

TEST_CASE("cuda errors: SCULPT_CUDA_SYNC: empty and 0 mean no") {
  CHECK(waits_for_launches() == is_waiting_asked_for());
  // Launches that the program waits for cannot be recorded into a graph.
  CHECK((backends().front()->recording.record == nullptr) == is_waiting_asked_for());
}

TEST_CASE(
    "cuda errors: a launch behind a kernel that failed accuses both, unless each launch is waited "
    "for") {
  launch();
  const FailedKernel failed;
  const std::string says = ": CUDA says 'misaligned address' (cudaErrorMisalignedAddress)";
  const std::string expected =
      is_waiting_asked_for()
          ? "innocent_kernel" + says
          : "innocent_kernel, or a kernel launched before it (SCULPT_CUDA_SYNC=1 says which)" +
                says;
  CHECK_THROWS_WITH_AS(launch(), expected.c_str(), Error);
}

TEST_CASE("cuda errors: a wait that finds a kernel's error does not accuse itself") {
  float value = 0;
  const DeviceMemory& memory = *backends().front()->memory;
  void* const device = memory.allocate(sizeof(value));
  {
    const FailedKernel failed;
    const std::string expected =
        std::string(
            "copying from the GPU: CUDA says 'misaligned address' "
            "(cudaErrorMisalignedAddress)") +
        (is_waiting_asked_for()
             ? ""
             : "; a kernel launched before failed, SCULPT_CUDA_SYNC=1 says which");
    CHECK_THROWS_WITH_AS(memory.copy_out(&value, device, sizeof(value)), expected.c_str(), Error);
  }
  memory.free(device);
}

TEST_CASE("cuda errors: an error that was reported is not reported again by the next launch") {
  CHECK_THROWS_AS(describe_device(7), Error);
  CHECK_NOTHROW(launch());
}

}  // namespace
