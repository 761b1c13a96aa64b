// The masked update: one launch for all parameters. For SGD, the kernel reads weight, momentum,
// gradient and mask (13 bytes) of each weight and writes weight and momentum (8 bytes) and the
// compute copy (2 bytes in bf16, 4 in float). Each further array of an optimizer adds 8 bytes. It
// has no other memory traffic, so it is bound by memory bandwidth.

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroup = 4;  // weights of a thread, which are one 16-byte word of each float array

/// Returns the last segment that begins at or before element i; -1 if there is none.
__device__ int find_segment(const UpdateSegment* segments, int count, int64_t i) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (segments[middle].offset <= i)
      low = middle + 1;
    else
      high = middle;
  }
  return low - 1;
}

template <class Packed>
__device__ void write_compute_copy(const UpdateArena& arena, const UpdateSegment& segment,
                                   int64_t i, float w) {
  if (segment.compute_copy_offset < 0) return;
  const auto local = static_cast<uint32_t>(i - segment.offset);
  const auto taps = static_cast<uint32_t>(segment.taps), in = static_cast<uint32_t>(segment.in);
  const uint32_t row = local / taps;  // o * in + c
  const uint32_t out = row / in;
  const uint32_t to = (out * taps + (local - row * taps)) * in + (row - out * in);
  static_cast<Packed*>(arena.compute_copy)[segment.compute_copy_offset + to] =
      from_float<Packed>(w);
}

/// One weight and what the optimizer keeps of it.
struct Weight {
  float weight, momentum, second, factor, average;
};

__device__ void step_sgd(Weight& w, float grad, float decay, const UpdateScalars& scalars,
                         const UpdateOptions& options) {
  const float d = scalars.grad_scale * grad + decay * w.weight;
  w.momentum = options.momentum * w.momentum + d;
  w.weight -= scalars.lr * (options.nesterov ? d + options.momentum * w.momentum : w.momentum);
}

__device__ void step_sign_in(Weight& w, float grad, float decay, const UpdateScalars& scalars,
                             const UpdateOptions& options) {
  const float beta = options.sign_in_beta, mu = options.momentum;
  if (w.factor == 0) w.factor = sqrtf(0.5f * (beta + sqrtf(4 * w.weight * w.weight + beta * beta)));
  float other = w.weight / w.factor;
  const float d = scalars.grad_scale * grad + decay * w.weight;
  const float of_other = d * w.factor, of_factor = d * other;
  w.momentum = mu * w.momentum + of_other;
  w.second = mu * w.second + of_factor;
  other -= scalars.lr * (options.nesterov ? of_other + mu * w.momentum : w.momentum);
  w.factor -= scalars.lr * (options.nesterov ? of_factor + mu * w.second : w.second);
  w.weight = w.factor * other;
}

__device__ void step_adamw(Weight& w, float grad, float decay, const UpdateScalars& scalars,
                           const UpdateOptions& options) {
  const float g = scalars.grad_scale * grad;
  w.momentum = options.beta1 * w.momentum + options.one_minus_beta1 * g;
  w.second = options.beta2 * w.second + options.one_minus_beta2 * g * g;
  const float size = sqrtf(scalars.second_correction * w.second) + options.epsilon;
  w.weight -= scalars.lr * decay * w.weight;
  w.weight -= scalars.lr * scalars.first_correction * (w.momentum / size);
}

__device__ void step_ham(Weight& w, float grad, const UpdateScalars& scalars,
                         const UpdateOptions& options) {
  const float g = scalars.grad_scale * grad;
  const float towards = w.weight < 0 ? -g : g;  // a weight of 0 stays 0 with either
  float exponent = scalars.lr * (-options.ham_alpha * towards - options.ham_beta);
  exponent = exponent < -kHamClip ? -kHamClip : exponent;
  exponent = exponent > kHamClip ? kHamClip : exponent;
  w.weight *= expf(exponent);
}

/// SGD without Sign-In, HAM and an average has a kernel of its own, kPlain, which needs fewer
/// registers.
template <bool kPlain>
__device__ Weight stepped(Weight w, float grad, bool kept, const UpdateSegment& segment,
                          const UpdateScalars& scalars, const UpdateOptions& options) {
  if (!kept) return {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if constexpr (kPlain) {
    step_sgd(w, grad, segment.weight_decay, scalars, options);
    return w;
  }
  if (options.rule == UpdateRule::adamw)
    step_adamw(w, grad, segment.weight_decay, scalars, options);
  else if (segment.sign_in)
    step_sign_in(w, grad, segment.weight_decay, scalars, options);
  else
    step_sgd(w, grad, segment.weight_decay, scalars, options);
  if (segment.ham) step_ham(w, grad, scalars, options);
  w.average += scalars.average_rate * (w.weight - w.average);
  return w;
}

/// kCount neighbouring elements of an array, which may be null: its values are then zeros, and are
/// not written.
template <int kCount>
struct Values {
  float* at_device;
  Pack<float, kCount> values;

  __device__ Values(void* array, int64_t i)
      : at_device(array == nullptr ? nullptr : static_cast<float*>(array) + i), values{} {
    if (at_device != nullptr) values = load_pack<kCount>(at_device);
  }
  __device__ void write() const {
    if (at_device != nullptr) store_pack(at_device, values);
  }
};

/// Updates kCount weights of one segment: kGroup of them, in 16-byte words, or a single one at any
/// position.
template <class Packed, bool kPlain, int kCount>
__device__ void update_group(const UpdateArena& arena, const UpdateSegment& segment, int64_t i,
                             const UpdateScalars& scalars, const UpdateOptions& options) {
  Values<kCount> weight(arena.weight, i), momentum(arena.momentum, i);
  Values<kCount> second(kPlain ? nullptr : arena.second, i);
  Values<kCount> factor(kPlain ? nullptr : arena.factor, i);
  Values<kCount> average(kPlain ? nullptr : arena.average, i);
  const auto g = load_pack<kCount>(static_cast<const float*>(arena.grad) + i);
  bool kept[kCount];
  for (int j = 0; j < kCount; ++j)
    kept[j] = true;
  if (arena.mask != nullptr) {
    const auto mask = load_pack<kCount>(arena.mask + i);
    for (int j = 0; j < kCount; ++j)
      kept[j] = mask.at[j] != 0;
  }
  for (int j = 0; j < kCount; ++j) {
    const Weight next =
        stepped<kPlain>({weight.values.at[j], momentum.values.at[j], second.values.at[j],
                         factor.values.at[j], average.values.at[j]},
                        g.at[j], kept[j], segment, scalars, options);
    weight.values.at[j] = next.weight;
    momentum.values.at[j] = next.momentum;
    second.values.at[j] = next.second;
    factor.values.at[j] = next.factor;
    average.values.at[j] = next.average;
  }
  weight.write();
  momentum.write();
  second.write();
  factor.write();
  average.write();
  for (int j = 0; j < kCount; ++j)
    write_compute_copy<Packed>(arena, segment, i + j, weight.values.at[j]);
}

template <class Packed, bool kPlain>
__global__ void __launch_bounds__(kThreads)
    update_kernel(UpdateArena arena, const UpdateScalars* scalars_at, UpdateOptions options) {
  follow_previous_kernels();
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kGroup;
  if (i >= arena.count) return;
  const UpdateScalars scalars = *scalars_at;
  const int count = static_cast<int>(arena.segment_count);
  const int s = find_segment(arena.segments, count, i);
  const auto holds = [&](int segment, int64_t end) {
    return segment >= 0 && end <= arena.segments[segment].offset + arena.segments[segment].count;
  };
  if (holds(s, i + kGroup)) {
    update_group<Packed, kPlain, kGroup>(arena, arena.segments[s], i, scalars, options);
    return;
  }
  const int64_t end = i + kGroup < arena.count ? i + kGroup : arena.count;
  for (int64_t j = i; j < end; ++j) {
    const int of_one = find_segment(arena.segments, count, j);
    if (holds(of_one, j + 1))
      update_group<Packed, kPlain, 1>(arena, arena.segments[of_one], j, scalars, options);
  }
}

template <class Packed>
__global__ void __launch_bounds__(kThreads) pack_kernel(UpdateArena arena) {
  follow_previous_kernels();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= arena.count) return;
  const int s = find_segment(arena.segments, static_cast<int>(arena.segment_count), i);
  if (s < 0 || i >= arena.segments[s].offset + arena.segments[s].count) return;
  write_compute_copy<Packed>(arena, arena.segments[s], i,
                             static_cast<const float*>(arena.weight)[i]);
}

// Clipping computes the sum of squares in two stages, first by many blocks and then by one block.
// Each stage has a fixed order.

constexpr int kClipBlocks = 512;

__global__ void __launch_bounds__(kThreads)
    squares_kernel(double* partial, const float* grad, const uint8_t* mask, int64_t count) {
  follow_previous_kernels();
  __shared__ double shared[kThreads / kWarp];
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += int64_t{kClipBlocks} * kThreads) {
    const double g = mask == nullptr || mask[i] != 0 ? static_cast<double>(grad[i]) : 0.0;
    sum += g * g;
  }
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kThreads)
    clip_kernel(UpdateScalars* scalars, const double* partial, float max_norm) {
  follow_previous_kernels();
  __shared__ double shared[kThreads / kWarp];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kClipBlocks; i += kThreads)
    sum += partial[i];
  const double norm = sqrt(block_sum(sum, shared));
  if (threadIdx.x == 0)
    scalars->grad_scale =
        norm > static_cast<double>(max_norm) ? static_cast<float>(max_norm / norm) : 1.0f;
}

unsigned blocks_for(int64_t count, int64_t per_block) {
  return static_cast<unsigned>(ceil_div(count, per_block));
}

/// Returns true if the update is that of SGD alone. The arena's segments lie on the device, so
/// `any_ham` says on the host whether one of them has HAM's step.
bool is_plain(const UpdateArena& arena, const UpdateOptions& options) {
  return options.rule == UpdateRule::sgd && !options.any_ham && arena.factor == nullptr &&
         arena.average == nullptr;
}

template <class Packed>
void update(const UpdateArena& arena, const UpdateScalars* scalars, const UpdateOptions& options,
            void* stream) {
  const dim3 blocks(blocks_for(arena.count, kThreads * kGroup));
  if (is_plain(arena, options))
    SCULPT_LAUNCH((update_kernel<Packed, true>), blocks, dim3(kThreads), 0, stream, arena, scalars,
                  options);
  else
    SCULPT_LAUNCH((update_kernel<Packed, false>), blocks, dim3(kThreads), 0, stream, arena, scalars,
                  options);
}

template <class Packed>
void pack(const UpdateArena& arena, void* stream) {
  SCULPT_LAUNCH(pack_kernel<Packed>, dim3(blocks_for(arena.count, kThreads)), dim3(kThreads), 0,
                stream, arena);
}

size_t clip_workspace_bytes(int64_t /*count*/) {
  return kClipBlocks * sizeof(double);
}

void clip(UpdateScalars* scalars, const void* grad, const uint8_t* mask, int64_t count,
          float max_norm, void* workspace, void* stream) {
  auto* partial = static_cast<double*>(workspace);
  SCULPT_LAUNCH(squares_kernel, dim3(kClipBlocks), dim3(kThreads), 0, stream, partial,
                static_cast<const float*>(grad), mask, count);
  SCULPT_LAUNCH(clip_kernel, dim3(1), dim3(kThreads), 0, stream, scalars, partial, max_norm);
}

}  // namespace

template <class T>
MaskedUpdateKernels masked_update_kernels() {
  return {update<T>, pack<T>, clip, clip_workspace_bytes};
}

template MaskedUpdateKernels masked_update_kernels<float>();
template MaskedUpdateKernels masked_update_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
