#include <cmath>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

double sign(double v) {
  return v > 0 ? 1 : v < 0 ? -1 : 0;
}

void gradients(const SoftThresholdArena& arena, void* /*workspace*/, void* /*stream*/) {
  for (int64_t r = 0; r < arena.run_count; ++r) {
    const SoftThresholdRun& run = arena.runs[r];
    if (run.layer < 0) continue;
    SoftThreshold& layer = arena.thresholds[run.layer];
    double sum = 0;
    for (int64_t i = run.offset; i < run.offset + run.count; ++i) {
      const double v = doubles(arena.raw)[i];
      double& grad = doubles(arena.grad)[i];
      if (!(std::abs(v) > layer.threshold)) grad = 0;
      sum += sign(v) * grad;
    }
    layer.gradient = -layer.threshold * (1 - layer.threshold) * sum;
  }
}

void step_threshold(SoftThreshold& layer, const UpdateScalars& scalars,
                    const UpdateOptions& options, double decay) {
  const double lr = scalars.lr, grad = double{scalars.grad_scale} * layer.gradient;
  if (options.rule == UpdateRule::adamw) {
    layer.momentum =
        double{options.beta1} * layer.momentum + double{options.one_minus_beta1} * grad;
    layer.second =
        double{options.beta2} * layer.second + double{options.one_minus_beta2} * grad * grad;
    const double size =
        std::sqrt(double{scalars.second_correction} * layer.second) + double{options.epsilon};
    layer.s -= lr * decay * layer.s + lr * double{scalars.first_correction} * layer.momentum / size;
  } else {
    const double d = grad + decay * layer.s, mu = options.momentum;
    layer.momentum = mu * layer.momentum + d;
    layer.s -= lr * (options.nesterov ? d + mu * layer.momentum : layer.momentum);
  }
  layer.threshold = 1 / (1 + std::exp(-layer.s));
}

void apply(const SoftThresholdArena& arena, const UpdateScalars* scalars,
           const UpdateOptions& options, float weight_decay, void* /*stream*/) {
  for (int64_t r = 0; r < arena.run_count; ++r) {
    const SoftThresholdRun& run = arena.runs[r];
    if (run.layer >= 0)
      step_threshold(arena.thresholds[run.layer], *scalars, options, double{weight_decay});
    for (int64_t i = run.offset; i < run.offset + run.count; ++i) {
      const double v = doubles(arena.raw)[i];
      double& weight = doubles(arena.weight)[i];
      if (run.layer < 0) {
        weight = v;
        continue;
      }
      const double rest = std::abs(v) - arena.thresholds[run.layer].threshold;
      weight = rest > 0 ? sign(v) * rest : 0;
    }
  }
}

size_t workspace_bytes(int64_t /*run_count*/) {
  return 0;
}

}  // namespace

SoftThresholdKernels soft_threshold_kernels() {
  return {gradients, apply, workspace_bytes};
}

}  // namespace sculpt::kernels::reference
