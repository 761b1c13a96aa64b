#include "kernels/masked_update.h"

#include <bit>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

// This file is compiled without contraction of products and sums (kernels/CMakeLists.txt): all
// fused operations are written out. The compiler would otherwise fuse one product in vectors and
// another one in the last few elements, so results would depend on the position of an element.

/// Computes a * b + c, rounded once where the hardware can.
[[gnu::always_inline]] inline float multiply_add(float a, float b, float c) {
#ifdef __FMA__
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

/// Everything that the updates of a segment's weights have in common.
struct Coefficients {
  float decay, lr, scale;
  float adam_rate;  // lr with the correction of the first moment
  UpdateScalars scalars;
  UpdateOptions options;
};

/// One weight and what the optimizer keeps of it, without its average.
struct Weight {
  float weight, momentum, second, factor;
};

/// The rules below make one step of one weight. kSecond and kFactor say which arrays they use.
template <bool kNesterov>
struct Sgd {
  static constexpr bool kSecond = false, kFactor = false;
  [[gnu::always_inline]] static Weight step(Weight w, float grad, const Coefficients& c) {
    const float mu = c.options.momentum;
    const float d = multiply_add(c.scale, grad, c.decay * w.weight);
    w.momentum = multiply_add(mu, w.momentum, d);
    w.weight =
        multiply_add(-c.lr, kNesterov ? multiply_add(mu, w.momentum, d) : w.momentum, w.weight);
    return w;
  }
};

template <bool kNesterov>
struct SignIn {
  static constexpr bool kSecond = true, kFactor = true;
  /// Returns the factor f of a weight w = f * u for which f^2 - u^2 = beta.
  [[gnu::always_inline]] static float split(float weight, float beta) {
    const float root = __builtin_sqrtf(multiply_add(4 * weight, weight, beta * beta));
    return __builtin_sqrtf(0.5f * (beta + root));
  }
  [[gnu::always_inline]] static Weight step(Weight w, float grad, const Coefficients& c) {
    const float mu = c.options.momentum;
    const float fresh = split(w.weight, c.options.sign_in_beta);
    const float factor = w.factor == 0 ? fresh : w.factor;
    const float other = w.weight / factor;
    const float d = multiply_add(c.scale, grad, c.decay * w.weight);
    const float of_other = d * factor, of_factor = d * other;
    w.momentum = multiply_add(mu, w.momentum, of_other);
    w.second = multiply_add(mu, w.second, of_factor);
    w.factor =
        multiply_add(-c.lr, kNesterov ? multiply_add(mu, w.second, of_factor) : w.second, factor);
    w.weight =
        w.factor *
        multiply_add(-c.lr, kNesterov ? multiply_add(mu, w.momentum, of_other) : w.momentum, other);
    return w;
  }
};

struct AdamW {
  static constexpr bool kSecond = true, kFactor = false;
  [[gnu::always_inline]] static Weight step(Weight w, float grad, const Coefficients& c) {
    const UpdateOptions& o = c.options;
    const float g = c.scale * grad;
    w.momentum = multiply_add(o.beta1, w.momentum, o.one_minus_beta1 * g);
    w.second = multiply_add(o.beta2, w.second, o.one_minus_beta2 * g * g);
    const float size = __builtin_sqrtf(c.scalars.second_correction * w.second) + o.epsilon;
    const float decayed = multiply_add(-(c.lr * c.decay), w.weight, w.weight);
    w.weight = multiply_add(-c.adam_rate, w.momentum / size, decayed);
    return w;
  }
};

/// Returns exp(x) for x in [-kHamClip, kHamClip], with an error of less than 2 units in the last
/// place: 2^n * exp(r), where n is the integer nearest to x / ln 2. The coefficients of the
/// polynomial in r are those of Cephes (Moshier 1989).
[[gnu::always_inline]] inline float exponential(float x) {
  constexpr float kToInteger = 12582912.0f;  // 1.5 * 2^23: a sum with it is rounded to an integer
  constexpr float kInverseLn2 = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // n * kLn2High is exact
  const float shifted = multiply_add(x, kInverseLn2, kToInteger);
  const float n = shifted - kToInteger;
  const float r = multiply_add(-n, kLn2Low, multiply_add(-n, kLn2High, x));
  float p = 1.9875691500e-4f;
  p = multiply_add(p, r, 1.3981999507e-3f);
  p = multiply_add(p, r, 8.3334519073e-3f);
  p = multiply_add(p, r, 4.1665795894e-2f);
  p = multiply_add(p, r, 1.6666665459e-1f);
  p = multiply_add(p, r, 5.0000001201e-1f);
  p = multiply_add(p, r * r, r) + 1.0f;
  // The low bits of `shifted` are n. They become the exponent of 2^n.
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3F800000u;
  return p * std::bit_cast<float>(power);
}

/// Returns the weight after HAM's step. `grad` is the gradient before it is scaled.
[[gnu::always_inline]] inline float after_ham(float weight, float grad, const Coefficients& c) {
  const float g = c.scale * grad;
  const float towards = weight < 0 ? -g : g;  // a weight of 0 stays 0 with either
  float exponent = c.lr * multiply_add(-c.options.ham_alpha, towards, -c.options.ham_beta);
  exponent = exponent < -kHamClip ? -kHamClip : exponent;
  exponent = exponent > kHamClip ? kHamClip : exponent;
  return weight * exponential(exponent);
}

/// Returns the value where the mask is 1, and +0 where it is 0.
[[gnu::always_inline]] inline float where_kept(float value, uint32_t mask) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & (0u - mask));
}

/// Updates the elements [begin, end) in plain loops, which the compiler vectorises; the mask
/// clears bits.
template <class Rule, bool kMasked, bool kHam, bool kAverage>
void update_range(const UpdateArena& arena, int64_t begin, int64_t end,
                  const Coefficients& coefficients) {
  float* __restrict weight = static_cast<float*>(arena.weight);
  float* __restrict momentum = static_cast<float*>(arena.momentum);
  float* __restrict second = static_cast<float*>(arena.second);
  float* __restrict factor = static_cast<float*>(arena.factor);
  float* __restrict average = static_cast<float*>(arena.average);
  const float* __restrict grad = static_cast<const float*>(arena.grad);
  const uint8_t* __restrict mask = arena.mask;
  const Coefficients c = coefficients;  // a copy, which no array can overlap
#pragma GCC ivdep  // the arrays do not overlap; GCC does not believe it of seven of them
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t kept = kMasked ? mask[i] : 1;
    Weight w = {weight[i], momentum[i], 0.0f, 0.0f};
    if constexpr (Rule::kSecond) w.second = second[i];
    if constexpr (Rule::kFactor) w.factor = factor[i];
    w = Rule::step(w, grad[i], c);
    if constexpr (kHam) w.weight = after_ham(w.weight, grad[i], c);
    if constexpr (kAverage) {
      const float change = w.weight - average[i];
      average[i] = where_kept(multiply_add(c.scalars.average_rate, change, average[i]), kept);
    }
    momentum[i] = where_kept(w.momentum, kept);
    weight[i] = where_kept(w.weight, kept);
    if constexpr (Rule::kSecond) second[i] = where_kept(w.second, kept);
    if constexpr (Rule::kFactor) factor[i] = where_kept(w.factor, kept);
  }
}

using RangeUpdate = void (*)(const UpdateArena& arena, int64_t begin, int64_t end,
                             const Coefficients& coefficients);

template <class Rule, bool kMasked, bool kHam>
RangeUpdate range_update(bool average) {
  return average ? update_range<Rule, kMasked, kHam, true>
                 : update_range<Rule, kMasked, kHam, false>;
}

template <class Rule>
RangeUpdate range_update(const UpdateArena& arena, bool ham) {
  const bool average = arena.average != nullptr;
  if (arena.mask != nullptr)
    return ham ? range_update<Rule, true, true>(average) : range_update<Rule, true, false>(average);
  return ham ? range_update<Rule, false, true>(average) : range_update<Rule, false, false>(average);
}

RangeUpdate range_update(const UpdateArena& arena, const UpdateSegment& segment,
                         const UpdateOptions& options) {
  if (options.rule == UpdateRule::adamw) return range_update<AdamW>(arena, segment.ham);
  if (segment.sign_in)
    return options.nesterov ? range_update<SignIn<true>>(arena, segment.ham)
                            : range_update<SignIn<false>>(arena, segment.ham);
  return options.nesterov ? range_update<Sgd<true>>(arena, segment.ham)
                          : range_update<Sgd<false>>(arena, segment.ham);
}

void update(const UpdateArena& arena, const UpdateScalars* scalars, const UpdateOptions& options,
            void* /*stream*/) {
  for (int64_t s = 0; s < arena.segment_count; ++s) {
    const UpdateSegment& segment = arena.segments[s];
    const Coefficients coefficients = {segment.weight_decay,
                                       scalars->lr,
                                       scalars->grad_scale,
                                       scalars->lr * scalars->first_correction,
                                       *scalars,
                                       options};
    const RangeUpdate range = range_update(arena, segment, options);
    parallel_for(segment.count, [&](int64_t begin, int64_t end, int) {
      range(arena, segment.offset + begin, segment.offset + end, coefficients);
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

void clip(UpdateScalars* scalars, const void* grad, const uint8_t* mask, int64_t count,
          float max_norm, void* /*workspace*/, void* /*stream*/) {
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

MaskedUpdateKernels masked_update_kernels() {
  return {update, nullptr, clip, clip_workspace_bytes};
}

}  // namespace SCULPT_ISA_NAMESPACE
