// A survey runs a few blocks of each launch and counts what they do.

#include "cuda_on_host/survey.h"

#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/ptx.h"

namespace {

using namespace sculpt::kernels::cuda;
using cuda_on_host::SurveyedLaunch;

constexpr int kThreads = 64;

/// Each thread reads 16 bytes, writes 8, and copies 16 if its block has an even index. Each of the
/// two warps makes three matrix products.
__global__ void busy_kernel(const float* in, float* out, int* ran) {
  SCULPT_DYNAMIC_SHARED(float, shared);
  const int thread = static_cast<int>(threadIdx.x);
  const auto pack = load_pack<4>(in + 4 * thread);
  store_pack(shared + 4 * thread, pack);  // the survey leaves out shared memory
  store_pack(out + 2 * thread, Pack<float, 2>{{pack.at[0], pack.at[1]}});
  cp_async_16(shared + 4 * thread, in + 4 * thread, blockIdx.x % 2 == 0);
  cp_async_commit();
  cp_async_wait<0>();
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  for (int i = 0; i < 2; ++i)
    mma_bf16_16816(d, a, b);
  mma_tf32_1688(d, a, b);
  if (thread == 0) ++ran[blockIdx.x + gridDim.x * blockIdx.y];
}

struct Launched {
  std::vector<SurveyedLaunch> seen;
  std::vector<int> ran;
};

Launched launch(dim3 grid) {
  Launched result{{}, std::vector<int>(size_t{grid.x} * grid.y)};
  std::vector<float> in(4 * kThreads + 4), out(2 * kThreads);
  // cp.async demands an aligned address.
  float* const aligned = in.data() + (16 - reinterpret_cast<uintptr_t>(in.data()) % 16) % 16 / 4;
  cuda_on_host::survey([&](const SurveyedLaunch& each) { result.seen.push_back(each); });
  SCULPT_LAUNCH(busy_kernel, grid, dim3(kThreads), 16 * kThreads, nullptr, aligned, out.data(),
                result.ran.data());
  cuda_on_host::survey({});
  return result;
}

TEST_CASE("survey: up to eight blocks run, spread over the grid, and their work is counted") {
  for (const uint32_t width : {1, 5, 8, 33, 100}) {
    const dim3 grid(width, 3);
    const Launched done = launch(grid);
    REQUIRE(done.seen.size() == 1);
    const SurveyedLaunch& seen = done.seen[0];
    const size_t blocks = size_t{width} * 3, sampled = std::min<size_t>(blocks, 8);
    CHECK(seen.sampled_blocks == sampled);
    CHECK(seen.kernel == std::string("busy_kernel"));
    CHECK(seen.function == reinterpret_cast<const void*>(busy_kernel));
    CHECK(seen.grid.x == width);
    CHECK(seen.grid.y == 3);
    CHECK(seen.block.x == kThreads);
    CHECK(seen.shared_bytes == 16 * kThreads);
    size_t ran = 0, even = 0;
    for (size_t i = 0; i < blocks; ++i) {
      // Any eighth of the grid has a block that ran.
      if (done.ran[i] == 0) continue;
      CHECK(done.ran[i] == 1);
      CHECK(i * sampled / blocks == ran);
      ++ran;
      even += i % width % 2 == 0;
    }
    CHECK(ran == sampled);
    CHECK(seen.work.matrix_products == 6 * sampled);
    CHECK(seen.work.read_bytes == 16 * kThreads * sampled);
    CHECK(seen.work.written_bytes == 8 * kThreads * sampled);
    CHECK(seen.work.copied_bytes == 16 * kThreads * even);
  }
}

TEST_CASE("survey: after its end, all blocks run, and what they do is not told") {
  int told = 0;
  cuda_on_host::survey([&](const SurveyedLaunch&) { ++told; });
  CHECK(cuda_on_host::is_surveying());
  cuda_on_host::survey({});
  CHECK(!cuda_on_host::is_surveying());
  std::vector<int> ran(20);
  cuda_on_host::run_grid("test", dim3(20), dim3(1), 0, nullptr, [&] { ++ran[blockIdx.x]; });
  CHECK(ran == std::vector<int>(20, 1));
  CHECK(told == 0);
}

TEST_CASE("survey: a launch does not inherit the work of the one before") {
  CHECK(launch(dim3(2)).seen[0].work.matrix_products == 12);
  CHECK(launch(dim3(2)).seen[0].work.matrix_products == 12);
}

}  // namespace
