// The memory of the device runs out, and is given back.

#include <doctest/doctest.h>

#if defined(SCULPT_CUDA_ON_HOST)
#include <cuda_runtime.h>
#endif

#include "engine/core/error.h"
#include "engine/nn/network.h"
#include "tests/support/tested_backends.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace sculpt;
using test::tested_backends;

#if defined(SCULPT_CUDA_ON_HOST)  // the memory of a real device cannot be made small

TEST_CASE("device memory: a full GPU says what needed how much, and what was in use") {
  const kernels::Backend& backend = *tested_backends().front();
  const size_t before = cuda_on_host::live_allocations();
  cuda_on_host::set_device_memory(size_t{1} << 20);
  std::string message;
  try {
    Network network(testing::tiny_spec(), backend, 4096);
  } catch (const Error& error) {
    message = error.what();
  }
  cuda_on_host::set_device_memory(size_t{16} << 30);
  CAPTURE(message);
  CHECK(message.starts_with("out of GPU memory: "));
  CHECK(message.find("cannot allocate ") != std::string::npos);
  CHECK(message.find("the program uses ") != std::string::npos);
  CHECK(message.find(" MiB, ") != std::string::npos);
  CHECK(message.find("train.batch") != std::string::npos);
  // The failed network has given its memory back, and smaller networks still fit.
  CHECK(cuda_on_host::live_allocations() == before);
  Network network(testing::tiny_spec(), backend, 4);
  CHECK(cuda_on_host::live_allocations() > before);
}

#endif

TEST_CASE("device memory: the peak counts what lives at one time on the device") {
  const kernels::Backend& backend = *tested_backends().front();
  const size_t before = peak_device_bytes();
  { const Buffer host(before + 1000, "a test"); }
  CHECK(peak_device_bytes() == before);
  {
    const Buffer first(before, "a test", backend.memory);
    CHECK(peak_device_bytes() >= before);
    const Buffer second(1000, "a test", backend.memory);
    CHECK(peak_device_bytes() >= before + 1000);
  }
  const size_t after = peak_device_bytes();
  const Buffer small(1000, "a test", backend.memory);
  CHECK(peak_device_bytes() == after);
}

TEST_CASE("device memory: more than there is") {
  const kernels::Backend& backend = *tested_backends().front();
  REQUIRE(backend.memory != nullptr);
  CHECK_THROWS_AS(Buffer(size_t{1} << 50, "a test", backend.memory), Error);
}

}  // namespace
