// Kernels on arrays of gradients. Each thread takes elements a grid apart, so neighbouring threads
// read neighbouring indices, which are ascending.

#include <algorithm>

#include "kernels/common/layout.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 4096;

template <class Body>
__device__ void for_each(int64_t count, const Body& body) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < count; j += stride)
    body(j);
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(float* few, const float* many, const int32_t* indices, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t j) { few[j] = many[indices[j]]; });
}

__global__ void __launch_bounds__(kThreads)
    scatter_kernel(float* many, const float* few, const int32_t* indices, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t j) { many[indices[j]] = few[j]; });
}

__global__ void __launch_bounds__(kThreads)
    add_kernel(float* sum, const float* terms, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t j) { sum[j] += terms[j]; });
}

dim3 grid_for(int64_t count) {
  return {static_cast<unsigned>(std::min(ceil_div(count, kThreads), kMostBlocks)), 1, 1};
}

void gather(void* few, const void* many, const int32_t* indices, int64_t count, void* stream) {
  SCULPT_LAUNCH(gather_kernel, grid_for(count), dim3(kThreads), 0, stream, static_cast<float*>(few),
                static_cast<const float*>(many), indices, count);
}

void scatter(void* many, const void* few, const int32_t* indices, int64_t count, void* stream) {
  SCULPT_LAUNCH(scatter_kernel, grid_for(count), dim3(kThreads), 0, stream,
                static_cast<float*>(many), static_cast<const float*>(few), indices, count);
}

void add(void* sum, const void* terms, int64_t count, void* stream) {
  SCULPT_LAUNCH(add_kernel, grid_for(count), dim3(kThreads), 0, stream, static_cast<float*>(sum),
                static_cast<const float*>(terms), count);
}

}  // namespace

GradientKernels gradient_kernels() {
  return {.gather = gather, .scatter = scatter, .add = add};
}

}  // namespace sculpt::kernels::cuda
