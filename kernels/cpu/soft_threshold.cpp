#include "kernels/soft_threshold.h"

#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// The number of parts of a layer is fixed, so that sums do not depend on the number of threads.
constexpr int64_t kParts = 64;

double sigmoid(double s) {
  return 1 / (1 + std::exp(-s));
}

/// Returns sign(v) * max(|v| - threshold, 0); +0 where |v| <= threshold.
[[gnu::always_inline]] inline float behind_threshold(float v, float threshold) {
  const float above = v > threshold ? v - threshold : 0.0f;
  return v < -threshold ? v + threshold : above;
}

/// Makes one update of s from its gradient.
void step_threshold(SoftThreshold& t, const UpdateScalars& scalars, const UpdateOptions& o,
                    float weight_decay) {
  const double gradient = static_cast<double>(scalars.grad_scale) * t.gradient;
  const double lr = static_cast<double>(scalars.lr), decay = static_cast<double>(weight_decay);
  if (o.rule == UpdateRule::adamw) {
    t.momentum = static_cast<double>(o.beta1) * t.momentum +
                 static_cast<double>(o.one_minus_beta1) * gradient;
    t.second = static_cast<double>(o.beta2) * t.second +
               static_cast<double>(o.one_minus_beta2) * gradient * gradient;
    const double size = std::sqrt(static_cast<double>(scalars.second_correction) * t.second) +
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

/// Sets the gradients of weights up to the threshold to 0. Returns the sum of sign(v) * gradient
/// over the others, in eight running sums, which hides the latency of the additions.
double gradients_of_range(const float* __restrict raw, float* __restrict grad, float threshold,
                          int64_t begin, int64_t end) {
  double sums[8] = {};
  const auto add = [&](int64_t i, double& sum) {
    const float g = grad[i];
    const bool above = raw[i] > threshold, below = raw[i] < -threshold;
    grad[i] = above || below ? g : 0.0f;
    const float towards = below ? -g : g;
    sum += static_cast<double>(above || below ? towards : 0.0f);
  };
  int64_t i = begin;
  for (; i + 8 <= end; i += 8)
    for (int j = 0; j < 8; ++j)
      add(i + j, sums[j]);
  for (; i < end; ++i)
    add(i, sums[0]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void gradients(const SoftThresholdArena& arena, void* /*workspace*/, void* /*stream*/) {
  for (int64_t r = 0; r < arena.run_count; ++r) {
    const SoftThresholdRun& run = arena.runs[r];
    if (run.layer < 0) continue;
    SoftThreshold& layer = arena.thresholds[run.layer];
    const float* const raw = static_cast<const float*>(arena.raw) + run.offset;
    float* const grad = static_cast<float*>(arena.grad) + run.offset;
    double parts[kParts];
    parallel_for(kParts, [&](int64_t begin, int64_t end, int) {
      for (int64_t part = begin; part < end; ++part)
        parts[part] =
            gradients_of_range(raw, grad, static_cast<float>(layer.threshold),
                               run.count * part / kParts, run.count * (part + 1) / kParts);
    });
    double sum = 0;
    for (const double part : parts)
      sum += part;
    layer.gradient = -layer.threshold * (1 - layer.threshold) * sum;
  }
}

void apply_run(const SoftThresholdArena& arena, const SoftThresholdRun& run) {
  const float* const raw = static_cast<const float*>(arena.raw) + run.offset;
  float* const weight = static_cast<float*>(arena.weight) + run.offset;
  const bool has_threshold = run.layer >= 0;
  const float threshold =
      has_threshold ? static_cast<float>(arena.thresholds[run.layer].threshold) : 0.0f;
  parallel_for(run.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      weight[i] = has_threshold ? behind_threshold(raw[i], threshold) : raw[i];
  });
}

void apply(const SoftThresholdArena& arena, const UpdateScalars* scalars,
           const UpdateOptions& options, float weight_decay, void* /*stream*/) {
  for (int64_t r = 0; r < arena.run_count; ++r) {
    const SoftThresholdRun& run = arena.runs[r];
    if (run.layer >= 0)
      step_threshold(arena.thresholds[run.layer], *scalars, options, weight_decay);
    apply_run(arena, run);
  }
}

size_t workspace_bytes(int64_t /*run_count*/) {
  return 0;
}

}  // namespace

SoftThresholdKernels soft_threshold_kernels() {
  return {gradients, apply, workspace_bytes};
}

}  // namespace SCULPT_ISA_NAMESPACE
