#include "kernels/cpu/masked_sgd.h"

#include "kernels/common/parallel.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Plain loops over [begin, end): the compiler vectorises them, the mask becomes a select.
template <bool kMasked, bool kNesterov>
void update_range(float* __restrict weight, float* __restrict momentum,
                  const float* __restrict grad, const uint8_t* __restrict mask, int64_t begin,
                  int64_t end, const SgdStep& step) {
  const float lr = step.lr;
  const float mu = step.momentum;
  const float decay = step.weight_decay;
  const float scale = step.grad_scale;
  for (int64_t i = begin; i < end; ++i) {
    const float g = scale * grad[i] + decay * weight[i];
    const float m = mu * momentum[i] + g;
    const float w = weight[i] - lr * (kNesterov ? g + mu * m : m);
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

void update(void* weight, void* momentum, const void* grad, const uint8_t* mask, int64_t count,
            const SgdStep& step, void* /*stream*/) {
  const auto range = mask != nullptr
                         ? (step.nesterov ? update_range<true, true> : update_range<true, false>)
                         : (step.nesterov ? update_range<false, true> : update_range<false, false>);
  parallel_for(count, [&](int64_t begin, int64_t end, int) {
    range(static_cast<float*>(weight), static_cast<float*>(momentum),
          static_cast<const float*>(grad), mask, begin, end, step);
  });
}

/// Eight running sums: independent enough to hide the latency of the additions.
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

double sum_of_squares(const void* grad, const uint8_t* mask, int64_t count, void* /*stream*/) {
  // A fixed number of parts, so that the result does not depend on the number of threads.
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
  return sum;
}

}  // namespace

MaskedSgdKernels masked_sgd_kernels() {
  return {update, sum_of_squares};
}

}  // namespace SCULPT_ISA_NAMESPACE
