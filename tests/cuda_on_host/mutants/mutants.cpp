// Kernels that are broken in the way that the program's argument names. mutants_test.py expects the
// layer or a sanitizer to stop each of them.

#include <cstdio>
#include <cstring>

#include "../sample_runs.h"

namespace {

using namespace samples;

__global__ void divergent_barrier(float* x) {
  if (threadIdx.x < 32) {
    x[threadIdx.x] = 1.0f;
    __syncthreads();
  } else {
    x[threadIdx.x] = 2.0f;
    __syncthreads();
  }
}

__global__ void shuffle_with_absent_lanes(float* x) {
  float value = x[threadIdx.x];
  if (threadIdx.x % 2 == 0) value += __shfl_xor_sync(0xffffffffu, value, 2);
  __syncthreads();
  x[threadIdx.x] = value;
}

__global__ void lane_outside_its_mask(float* x) {
  x[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 0);
}

__global__ void misaligned_copy(const float* x) {
  SCULPT_DYNAMIC_SHARED(float, stage);
  cp_async_16(stage + 1, x, true);
}

__global__ void misaligned_copy_of_nothing(const float* x) {
  SCULPT_DYNAMIC_SHARED(float, stage);
  cp_async_16(stage, x - 1, false);
}

__global__ void misaligned_vector(const float* x, float* y) {
  y[threadIdx.x] = reinterpret_cast<const float4*>(x + 1)->x;  // misaligned: vector
}

__global__ void beyond_dynamic_shared(float* y) {
  SCULPT_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x] = 1.0f;  // overrun: dynamic_shared
  y[threadIdx.x] = shared[threadIdx.x];
}

__global__ void beyond_static_shared(float* y) {
  __shared__ float shared[63];
  shared[threadIdx.x] = 1.0f;  // overrun: static_shared
  y[threadIdx.x] = shared[threadIdx.x];
}

__global__ void copy_beyond_the_end(const float* x, float* y) {
  SCULPT_DYNAMIC_SHARED(float, stage);
  cp_async_16(stage + 4 * threadIdx.x, x + 4 * threadIdx.x, true);  // overrun: async_copy
  cp_async_commit();
  cp_async_wait<0>();
  y[threadIdx.x] = stage[4 * threadIdx.x];
}

// Ordered by shuffles only, which do not order memory.
__global__ void shuffle_as_barrier(float* y) {
  __shared__ float shared[32];
  shared[threadIdx.x] = 1.0f;  // race: shuffle
  __shfl_sync(0xffffffffu, 0, 0);
  y[threadIdx.x] = shared[31 - threadIdx.x];  // race: shuffle
}

__global__ void lost_update(unsigned* count) {
  *count = *count + 1;  // race: lost_update
}

bool run(const char* name) {
  const auto is = [&](const char* other) { return strcmp(name, other) == 0; };
  DeviceArray<float> x(small_values(64, 1)), y(64);

  if (is("divergent_barrier")) {
    SCULPT_LAUNCH(divergent_barrier, 1, 64, 0, nullptr, x.data());
  } else if (is("deadlock")) {
    SCULPT_LAUNCH(shuffle_with_absent_lanes, 1, 64, 0, nullptr, x.data());
  } else if (is("outside_mask")) {
    SCULPT_LAUNCH(lane_outside_its_mask, 1, 32, 0, nullptr, x.data());
  } else if (is("misaligned_copy")) {
    SCULPT_LAUNCH(misaligned_copy, 1, 32, 1024, nullptr, x.data());
  } else if (is("misaligned_copy_of_nothing")) {
    SCULPT_LAUNCH(misaligned_copy_of_nothing, 1, 32, 1024, nullptr, x.data());
  } else if (is("misaligned_vector")) {
    SCULPT_LAUNCH(misaligned_vector, 1, 1, 0, nullptr, x.data(), y.data());
  } else if (is("overrun_dynamic_shared")) {
    SCULPT_LAUNCH(beyond_dynamic_shared, 1, 64, 63 * sizeof(float), nullptr, y.data());
  } else if (is("overrun_static_shared")) {
    SCULPT_LAUNCH(beyond_static_shared, 1, 64, 0, nullptr, y.data());
  } else if (is("overrun_async_copy")) {
    SCULPT_LAUNCH(copy_beyond_the_end, 1, 32, 2048, nullptr, x.data(), y.data());
  } else if (is("overrun_block_sum")) {
    block_sum_is_right<Mutation::kNoBoundsCheck>();
  } else if (is("overrun_radix_histogram")) {
    radix_histogram_is_right<Mutation::kNoBoundsCheck>();
  } else if (is("race_block_sum")) {
    block_sum_is_right<Mutation::kNoBarrier>();
  } else if (is("race_tiled_gemm")) {
    tiled_gemm_is_right<Mutation::kNoBarrier>();
  } else if (is("race_block_scan")) {
    block_scan_is_right<Mutation::kNoBarrier>();
  } else if (is("race_radix_histogram")) {
    radix_histogram_is_right<Mutation::kNoBarrier>();
  } else if (is("race_column_sums")) {
    column_sums_are_right<Mutation::kNoBarrier>();
  } else if (is("race_shuffle")) {
    SCULPT_LAUNCH(shuffle_as_barrier, 1, 32, 0, nullptr, y.data());
  } else if (is("race_lost_update")) {
    DeviceArray<unsigned> count(std::vector<unsigned>{0});
    SCULPT_LAUNCH(lost_update, 1, 32, 0, nullptr, count.data());
  } else if (is("none")) {
    return block_sum_is_right<>() && tiled_gemm_is_right<>() && block_scan_is_right<>() &&
           radix_histogram_is_right<>() && column_sums_are_right<>();
  } else {
    fprintf(stderr, "unknown mutant %s\n", name);
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  return argc == 2 && run(argv[1]) ? 0 : 2;
}
