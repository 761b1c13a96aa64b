
#include "kernels/masked_sgd.h"

#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Computes a * b + c, rounded once where the hardware can. Without this function, the compiler
/// would fuse one product in vectors and the other in the last few elements, so results would
/// depend on the position of an element.
float multiply_add(float a, float b, float c) {
#ifdef __FMA__
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

/// Updates the elements [begin, end) in plain loops, which the compiler vectorises; the mask
/// becomes a select.
template <bool kMasked, bool kNesterov>
void update_range(const SgdArena& arena, int64_t begin, int64_t end, float decay,
                  const SgdScalars& scalars, float mu) {
  float* __restrict weight = static_cast<float*>(arena.weight);
  float* __restrict momentum = static_cast<float*>(arena.momentum);
  const float* __restrict grad = static_cast<const float*>(arena.grad);
  const uint8_t* __restrict mask = arena.mask;
  const float lr = scalars.lr;
  const float scale = scalars.grad_scale;
  for (int64_t i = begin; i < end; ++i) {
    const float g = multiply_add(scale, grad[i], decay * weight[i]);
    const float m = multiply_add(mu, momentum[i], g);
    const float w = multiply_add(-lr, kNesterov ? multiply_add(mu, m, g) : m, weight[i]);
    if constexpr (kMasked) {
      const bool kept = mask[i] != 0;
      momentum[i] = kept ? m : 0.0f;
      weight[i] = kept ? w : 0.0f;
    } else {
      momentum[i] = m;
      weight[i] = w;
    }
  }
}

void update(const SgdArena& arena, const SgdScalars* scalars, const SgdOptions& options,
            void* /*stream*/) {
  const auto range =
      arena.mask != nullptr
          ? (options.nesterov ? update_range<true, true> : update_range<true, false>)
          : (options.nesterov ? update_range<false, true> : update_range<false, false>);
  for (int64_t s = 0; s < arena.segment_count; ++s) {
    const SgdSegment& segment = arena.segments[s];
    parallel_for(segment.count, [&](int64_t begin, int64_t end, int) {
      range(arena, segment.offset + begin, segment.offset + end, segment.weight_decay, *scalars,
            options.momentum);
    });
  }
}

/// Returns the sum of squares, in eight running sums. These are independent, which hides the
/// latency of the additions.
double squares_of_range(const float* grad, const uint8_t* mask, int64_t begin, int64_t end) {
  double sums[8] = {};
  int64_t i = begin;
  for (; i + 8 <= end; i += 8) {
    for (int j = 0; j < 8; ++j) {
      const double g = mask == nullptr || mask[i + j] != 0 ? static_cast<double>(grad[i + j]) : 0.0;
      sums[j] += g * g;
    }
  }
  for (; i < end; ++i) {
    const double g = mask == nullptr || mask[i] != 0 ? static_cast<double>(grad[i]) : 0.0;
    sums[0] += g * g;
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void clip(SgdScalars* scalars, const void* grad, const uint8_t* mask, int64_t count, float max_norm,
          void* /*workspace*/, void* /*stream*/) {
  // The number of parts is fixed, so that the result does not depend on the number of threads.
  constexpr int64_t kParts = 64;
  double parts[kParts];
  parallel_for(kParts, [&](int64_t begin, int64_t end, int) {
    for (int64_t part = begin; part < end; ++part)
      parts[part] = squares_of_range(static_cast<const float*>(grad), mask, count * part / kParts,
                                     count * (part + 1) / kParts);
  });
  double sum = 0;
  for (const double part : parts)
    sum += part;
  const double norm = std::sqrt(sum);
  scalars->grad_scale = norm > double{max_norm} ? static_cast<float>(max_norm / norm) : 1.0f;
}

size_t clip_workspace_bytes(int64_t /*count*/) {
  return 0;
}

}  // namespace

MaskedSgdKernels masked_sgd_kernels() {
  return {update, nullptr, clip, clip_workspace_bytes};
}

}  // namespace SCULPT_ISA_NAMESPACE
