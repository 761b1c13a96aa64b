#pragma once
// Adds up a number over the threads of a block.

#include "kernels/cuda/device/launch.h"

namespace sculpt::kernels::cuda {

/// Adds up `value` over the block in a fixed order; the result is valid in thread 0. `shared` has a
/// number for each warp of the block, and the block must consist of whole warps. Every thread must
/// call.
__device__ inline double block_sum(double value, double* shared) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_down_sync(0xffffffffu, value, distance);
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // the caller may be using `shared` again
  if (thread % kWarp == 0) shared[thread / kWarp] = value;
  __syncthreads();
  double sum = 0;
  if (thread == 0)
    for (int warp = 0; warp < static_cast<int>(blockDim.x) / kWarp; ++warp)
      sum += shared[warp];
  return sum;
}

}  // namespace sculpt::kernels::cuda
