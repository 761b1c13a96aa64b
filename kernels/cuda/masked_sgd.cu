// Masked SGD: one launch for all parameters. Per weight, the kernel reads weight, momentum,
// gradient and mask (13 bytes) and writes weight and momentum (8 bytes) and the compute copy (2
// bytes in bf16, 4 in float). It has no other memory traffic, so it is bound by memory bandwidth.

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroup = 4;  // weights of a thread, which are one 16-byte word of each float array

/// Returns the last segment that begins at or before element i; -1 if there is none.
__device__ int find_segment(const SgdSegment* segments, int count, int64_t i) {
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
__device__ void write_compute_copy(const SgdArena& arena, const SgdSegment& segment, int64_t i,
                                   float w) {
  if (segment.compute_copy_offset < 0) return;
  const auto local = static_cast<uint32_t>(i - segment.offset);
  const auto taps = static_cast<uint32_t>(segment.taps), in = static_cast<uint32_t>(segment.in);
  const uint32_t row = local / taps;  // o * in + c
  const uint32_t out = row / in;
  const uint32_t to = (out * taps + (local - row * taps)) * in + (row - out * in);
  static_cast<Packed*>(arena.compute_copy)[segment.compute_copy_offset + to] =
      from_float<Packed>(w);
}

struct Weight {
  float weight;
  float momentum;
};

__device__ Weight stepped(float w, float m, float grad, bool kept, float decay,
                          const SgdScalars& scalars, const SgdOptions& options) {
  if (!kept) return {0.0f, 0.0f};
  const float g = scalars.grad_scale * grad + decay * w;
  m = options.momentum * m + g;
  w -= scalars.lr * (options.nesterov ? g + options.momentum * m : m);
  return {w, m};
}

/// Updates one weight at any position.
template <class Packed>
__device__ void update_one(const SgdArena& arena, int64_t i, const SgdScalars& scalars,
                           const SgdOptions& options) {
  const int s = find_segment(arena.segments, static_cast<int>(arena.segment_count), i);
  if (s < 0 || i >= arena.segments[s].offset + arena.segments[s].count) return;
  const SgdSegment segment = arena.segments[s];
  float* weight = static_cast<float*>(arena.weight);
  float* momentum = static_cast<float*>(arena.momentum);
  const Weight next =
      stepped(weight[i], momentum[i], static_cast<const float*>(arena.grad)[i],
              arena.mask == nullptr || arena.mask[i] != 0, segment.weight_decay, scalars, options);
  weight[i] = next.weight;
  momentum[i] = next.momentum;
  write_compute_copy<Packed>(arena, segment, i, next.weight);
}

/// Updates kGroup weights of one segment, in 16-byte words.
template <class Packed>
__device__ void update_group(const SgdArena& arena, const SgdSegment& segment, int64_t i,
                             const SgdScalars& scalars, const SgdOptions& options) {
  float* weight = static_cast<float*>(arena.weight) + i;
  float* momentum = static_cast<float*>(arena.momentum) + i;
  auto w = load_pack<kGroup>(weight);
  auto m = load_pack<kGroup>(momentum);
  const auto g = load_pack<kGroup>(static_cast<const float*>(arena.grad) + i);
  Pack<uint8_t, kGroup> mask = {{1, 1, 1, 1}};
  if (arena.mask != nullptr) mask = load_pack<kGroup>(arena.mask + i);
  for (int j = 0; j < kGroup; ++j) {
    const Weight next =
        stepped(w.at[j], m.at[j], g.at[j], mask.at[j] != 0, segment.weight_decay, scalars, options);
    w.at[j] = next.weight;
    m.at[j] = next.momentum;
  }
  store_pack(weight, w);
  store_pack(momentum, m);
  for (int j = 0; j < kGroup; ++j)
    write_compute_copy<Packed>(arena, segment, i + j, w.at[j]);
}

template <class Packed>
__global__ void __launch_bounds__(kThreads)
    update_kernel(SgdArena arena, const SgdScalars* scalars_at, SgdOptions options) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kGroup;
  if (i >= arena.count) return;
  const SgdScalars scalars = *scalars_at;
  const int s = find_segment(arena.segments, static_cast<int>(arena.segment_count), i);
  const bool inside = s >= 0 && i + kGroup <= arena.segments[s].offset + arena.segments[s].count;
  if (inside) {
    update_group<Packed>(arena, arena.segments[s], i, scalars, options);
    return;
  }
  const int64_t end = i + kGroup < arena.count ? i + kGroup : arena.count;
  for (int64_t j = i; j < end; ++j)
    update_one<Packed>(arena, j, scalars, options);
}

template <class Packed>
__global__ void __launch_bounds__(kThreads) pack_kernel(SgdArena arena) {
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
    clip_kernel(SgdScalars* scalars, const double* partial, float max_norm) {
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

template <class Packed>
void update(const SgdArena& arena, const SgdScalars* scalars, const SgdOptions& options,
            void* stream) {
  SCULPT_LAUNCH(update_kernel<Packed>, dim3(blocks_for(arena.count, kThreads * kGroup)),
                dim3(kThreads), 0, stream, arena, scalars, options);
}

template <class Packed>
void pack(const SgdArena& arena, void* stream) {
  SCULPT_LAUNCH(pack_kernel<Packed>, dim3(blocks_for(arena.count, kThreads)), dim3(kThreads), 0,
                stream, arena);
}

size_t clip_workspace_bytes(int64_t /*count*/) {
  return kClipBlocks * sizeof(double);
}

void clip(SgdScalars* scalars, const void* grad, const uint8_t* mask, int64_t count, float max_norm,
          void* workspace, void* stream) {
  auto* partial = static_cast<double*>(workspace);
  SCULPT_LAUNCH(squares_kernel, dim3(kClipBlocks), dim3(kThreads), 0, stream, partial,
                static_cast<const float*>(grad), mask, count);
  SCULPT_LAUNCH(clip_kernel, dim3(1), dim3(kThreads), 0, stream, scalars, partial, max_norm);
}

}  // namespace

template <class T>
MaskedSgdKernels masked_sgd_kernels() {
  return {update<T>, pack<T>, clip, clip_workspace_bytes};
}

template MaskedSgdKernels masked_sgd_kernels<float>();
template MaskedSgdKernels masked_sgd_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
