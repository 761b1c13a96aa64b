// Soft thresholds. Each run of elements has a row of kBlocks blocks, whose threads walk over it.
// The sum of a layer is computed in two stages, first by the blocks of its row and then by one
// block; each stage has a fixed order. Both passes over the weights are bound by memory bandwidth:
// `gradients` reads 8 bytes and writes 4 for each weight, and `apply` reads 4 and writes 4.

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 64;  // of a run

__device__ double sigmoid(double s) {
  return 1 / (1 + exp(-s));
}

/// Returns sign(v) * max(|v| - threshold, 0); +0 where |v| <= threshold.
__device__ float behind_threshold(float v, float threshold) {
  const float above = v > threshold ? v - threshold : 0.0f;
  return v < -threshold ? v + threshold : above;
}

/// Makes one update of s from its gradient.
__device__ void step_threshold(SoftThreshold& t, const UpdateScalars& scalars,
                               const UpdateOptions& o, float weight_decay) {
  const double gradient = static_cast<double>(scalars.grad_scale) * t.gradient;
  const double lr = static_cast<double>(scalars.lr), decay = static_cast<double>(weight_decay);
  if (o.rule == UpdateRule::adamw) {
    t.momentum = static_cast<double>(o.beta1) * t.momentum +
                 static_cast<double>(o.one_minus_beta1) * gradient;
    t.second = static_cast<double>(o.beta2) * t.second +
               static_cast<double>(o.one_minus_beta2) * gradient * gradient;
    const double size = sqrt(static_cast<double>(scalars.second_correction) * t.second) +
                        static_cast<double>(o.epsilon);
    t.s -= lr * decay * t.s;
    t.s -= lr * static_cast<double>(scalars.first_correction) * t.momentum / size;
  } else {
    const double mu = static_cast<double>(o.momentum), d = gradient + decay * t.s;
    t.momentum = mu * t.momentum + d;
    t.s -= lr * (o.nesterov ? d + mu * t.momentum : t.momentum);
  }
  t.threshold = sigmoid(t.s);
}

__global__ void __launch_bounds__(kThreads)
    gradients_kernel(SoftThresholdArena arena, double* partial) {
  follow_previous_kernels();
  __shared__ double shared[kThreads / kWarp];
  const SoftThresholdRun run = arena.runs[blockIdx.y];
  if (run.layer < 0) return;
  const auto threshold = static_cast<float>(arena.thresholds[run.layer].threshold);
  const float* const raw = static_cast<const float*>(arena.raw) + run.offset;
  float* const grad = static_cast<float*>(arena.grad) + run.offset;
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < run.count;
       i += int64_t{kBlocks} * kThreads) {
    const float v = raw[i], g = grad[i];
    if (v > threshold)
      sum += static_cast<double>(g);
    else if (v < -threshold)
      sum -= static_cast<double>(g);
    else
      grad[i] = 0.0f;
  }
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[int64_t{blockIdx.y} * kBlocks + blockIdx.x] = total;
}

__global__ void __launch_bounds__(kBlocks)
    sums_kernel(SoftThresholdArena arena, const double* partial) {
  follow_previous_kernels();
  __shared__ double shared[kBlocks / kWarp];
  const SoftThresholdRun run = arena.runs[blockIdx.x];
  if (run.layer < 0) return;
  const double sum = block_sum(partial[int64_t{blockIdx.x} * kBlocks + threadIdx.x], shared);
  if (threadIdx.x != 0) return;
  SoftThreshold& layer = arena.thresholds[run.layer];
  layer.gradient = -layer.threshold * (1 - layer.threshold) * sum;
}

/// Each thread updates the threshold of one run.
__global__ void __launch_bounds__(kThreads)
    step_kernel(SoftThresholdArena arena, const UpdateScalars* scalars, UpdateOptions options,
                float weight_decay) {
  follow_previous_kernels();
  const int64_t r = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (r >= arena.run_count || arena.runs[r].layer < 0) return;
  step_threshold(arena.thresholds[arena.runs[r].layer], *scalars, options, weight_decay);
}

__global__ void __launch_bounds__(kThreads) apply_kernel(SoftThresholdArena arena) {
  follow_previous_kernels();
  const SoftThresholdRun run = arena.runs[blockIdx.y];
  const float* const raw = static_cast<const float*>(arena.raw) + run.offset;
  float* const weight = static_cast<float*>(arena.weight) + run.offset;
  const bool has_threshold = run.layer >= 0;
  const float threshold =
      has_threshold ? static_cast<float>(arena.thresholds[run.layer].threshold) : 0.0f;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < run.count;
       i += int64_t{kBlocks} * kThreads)
    weight[i] = has_threshold ? behind_threshold(raw[i], threshold) : raw[i];
}

dim3 blocks_of_runs(const SoftThresholdArena& arena) {
  return dim3(kBlocks, static_cast<unsigned>(arena.run_count));
}

void gradients(const SoftThresholdArena& arena, void* workspace, void* stream) {
  auto* partial = static_cast<double*>(workspace);
  SCULPT_LAUNCH(gradients_kernel, blocks_of_runs(arena), dim3(kThreads), 0, stream, arena, partial);
  SCULPT_LAUNCH(sums_kernel, dim3(static_cast<unsigned>(arena.run_count)), dim3(kBlocks), 0, stream,
                arena, partial);
}

void apply(const SoftThresholdArena& arena, const UpdateScalars* scalars,
           const UpdateOptions& options, float weight_decay, void* stream) {
  SCULPT_LAUNCH(step_kernel, dim3(static_cast<unsigned>(ceil_div(arena.run_count, kThreads))),
                dim3(kThreads), 0, stream, arena, scalars, options, weight_decay);
  SCULPT_LAUNCH(apply_kernel, blocks_of_runs(arena), dim3(kThreads), 0, stream, arena);
}

size_t workspace_bytes(int64_t run_count) {
  return static_cast<size_t>(run_count) * kBlocks * sizeof(double);
}

}  // namespace

SoftThresholdKernels soft_threshold_kernels() {
  return {gradients, apply, workspace_bytes};
}

}  // namespace sculpt::kernels::cuda
