#include <algorithm>
#include <cmath>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

/// One weight and what the optimizer keeps of it. A member whose array is null is 0 and is not
/// written.
struct Weight {
  double weight, momentum, second, factor, average;
};

double read(const void* array, int64_t i) {
  return array == nullptr ? 0 : doubles(array)[i];
}

void write(void* array, int64_t i, double value) {
  if (array != nullptr) doubles(array)[i] = value;
}

void step_sgd(Weight& w, double grad, double decay, double lr, const UpdateOptions& options) {
  const double d = grad + decay * w.weight, mu = options.momentum;
  w.momentum = mu * w.momentum + d;
  w.weight -= lr * (options.nesterov ? d + mu * w.momentum : w.momentum);
}

void step_sign_in(Weight& w, double grad, double decay, double lr, const UpdateOptions& options) {
  const double beta = options.sign_in_beta, mu = options.momentum;
  if (w.factor == 0)
    w.factor = std::sqrt((beta + std::sqrt(beta * beta + 4 * w.weight * w.weight)) / 2);
  double other = w.weight / w.factor;
  const double d = grad + decay * w.weight;
  const double of_other = d * w.factor, of_factor = d * other;
  w.momentum = mu * w.momentum + of_other;
  w.second = mu * w.second + of_factor;
  other -= lr * (options.nesterov ? of_other + mu * w.momentum : w.momentum);
  w.factor -= lr * (options.nesterov ? of_factor + mu * w.second : w.second);
  w.weight = w.factor * other;
}

void step_adamw(Weight& w, double grad, double decay, const UpdateScalars& scalars,
                const UpdateOptions& options) {
  const double lr = scalars.lr;
  w.momentum = double{options.beta1} * w.momentum + double{options.one_minus_beta1} * grad;
  w.second = double{options.beta2} * w.second + double{options.one_minus_beta2} * grad * grad;
  const double size =
      std::sqrt(double{scalars.second_correction} * w.second) + double{options.epsilon};
  w.weight -= lr * decay * w.weight + lr * double{scalars.first_correction} * w.momentum / size;
}

void step_ham(Weight& w, double grad, double lr, const UpdateOptions& options) {
  const double sign = w.weight > 0 ? 1 : w.weight < 0 ? -1 : 0;
  const double exponent =
      lr * (-double{options.ham_alpha} * sign * grad - double{options.ham_beta});
  w.weight *= std::exp(std::clamp(exponent, -double{kHamClip}, double{kHamClip}));
}

Weight stepped(Weight w, double grad, const UpdateSegment& segment, const UpdateScalars& scalars,
               const UpdateOptions& options) {
  const double decay = segment.weight_decay, lr = scalars.lr;
  if (options.rule == UpdateRule::adamw)
    step_adamw(w, grad, decay, scalars, options);
  else if (segment.sign_in)
    step_sign_in(w, grad, decay, lr, options);
  else
    step_sgd(w, grad, decay, lr, options);
  if (segment.ham) step_ham(w, grad, lr, options);
  w.average += double{scalars.average_rate} * (w.weight - w.average);
  return w;
}

void update(const UpdateArena& arena, const UpdateScalars* scalars, const UpdateOptions& options,
            void* /*stream*/) {
  for (int64_t s = 0; s < arena.segment_count; ++s) {
    const UpdateSegment& segment = arena.segments[s];
    for (int64_t i = segment.offset; i < segment.offset + segment.count; ++i) {
      Weight w = {};
      if (arena.mask == nullptr || arena.mask[i] != 0)
        w = stepped({read(arena.weight, i), read(arena.momentum, i), read(arena.second, i),
                     read(arena.factor, i), read(arena.average, i)},
                    double{scalars->grad_scale} * doubles(arena.grad)[i], segment, *scalars,
                    options);
      write(arena.weight, i, w.weight);
      write(arena.momentum, i, w.momentum);
      write(arena.second, i, w.second);
      write(arena.factor, i, w.factor);
      write(arena.average, i, w.average);
    }
  }
}

void clip(UpdateScalars* scalars, const void* grad, const uint8_t* mask, int64_t count,
          float max_norm, void* /*workspace*/, void* /*stream*/) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    if (mask == nullptr || mask[i] != 0) sum += doubles(grad)[i] * doubles(grad)[i];
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

}  // namespace sculpt::kernels::reference
