#pragma once
// The tests of the masked update share this header: an arena, the forms of the update, and their
// definition in double.

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "tests/kernels/kernel_test_util.h"

namespace sculpt::kernels::test {

inline std::vector<uint8_t> random_mask(int64_t count, double density, uint64_t seed) {
  std::vector<uint8_t> mask(static_cast<size_t>(count));
  for (size_t i = 0; i < mask.size(); ++i)
    mask[i] = sculpt::philox_uniform(sculpt::philox4x32(seed, i, 9)[0]) < density ? 1 : 0;
  return mask;
}

/// A rule with or without what can follow it.
struct Form {
  UpdateRule rule = UpdateRule::sgd;
  bool nesterov = false, ham = false, sign_in = false, average = false;

  std::string name() const {
    return fmt::format("{}{}{}{}{}", rule == UpdateRule::sgd ? "sgd" : "adamw",
                       nesterov ? ", nesterov" : "", ham ? ", ham" : "", sign_in ? ", sign-in" : "",
                       average ? ", average" : "");
  }
  UpdateOptions options() const {
    UpdateOptions o;
    o.rule = rule;
    o.nesterov = nesterov;
    o.any_ham = ham;
    o.ham_alpha = 3;
    o.ham_beta = 0.5f;
    o.sign_in_beta = 0.7f;
    return o;
  }
};

inline std::vector<Form> all_forms() {
  std::vector<Form> forms;
  for (const bool average : {false, true}) {
    for (const bool nesterov : {false, true}) {
      for (const bool ham : {false, true})
        forms.push_back({UpdateRule::sgd, nesterov, ham, false, average});
      forms.push_back({UpdateRule::sgd, nesterov, false, true, average});
    }
    for (const bool ham : {false, true})
      forms.push_back({UpdateRule::adamw, false, ham, false, average});
  }
  return forms;
}

/// The update of one weight as kernels/masked_update.h defines it, in double.
struct PlainWeight {
  double w = 0, m = 0, v = 0, f = 0, average = 0;

  void step(double grad, double decay, const UpdateScalars& s, const UpdateOptions& o,
            const Form& form) {
    const double lr = s.lr, mu = o.momentum, g = double{s.grad_scale} * grad;
    const double d = g + decay * w;
    if (form.rule == UpdateRule::adamw) {
      m = double{o.beta1} * m + double{o.one_minus_beta1} * g;
      v = double{o.beta2} * v + double{o.one_minus_beta2} * g * g;
      const double mean = double{s.first_correction} * m;
      const double size = std::sqrt(double{s.second_correction} * v) + double{o.epsilon};
      w = w - lr * decay * w - lr * mean / size;
    } else if (form.sign_in) {
      const double b = o.sign_in_beta;
      if (f == 0) f = std::sqrt((b + std::sqrt(b * b + 4 * w * w)) / 2);
      double u = w / f;
      const double of_u = d * f, of_f = d * u;
      m = mu * m + of_u;
      v = mu * v + of_f;
      u -= lr * (form.nesterov ? of_u + mu * m : m);
      f -= lr * (form.nesterov ? of_f + mu * v : v);
      w = f * u;
    } else {
      m = mu * m + d;
      w -= lr * (form.nesterov ? d + mu * m : m);
    }
    if (form.ham) {
      const double sign = w > 0 ? 1 : w < 0 ? -1 : 0;
      const double x = lr * (-double{o.ham_alpha} * sign * g - double{o.ham_beta});
      w *= std::exp(std::min(5.0, std::max(-5.0, x)));
    }
    average += double{s.average_rate} * (w - average);
  }
};

/// The values of step t = 1, 2, ... that change from step to step.
inline UpdateScalars scalars_of_step(int t, const UpdateOptions& o) {
  UpdateScalars scalars{0.1f / static_cast<float>(t), 0.5f};
  scalars.first_correction = static_cast<float>(1 / (1 - std::pow(double{o.beta1}, t)));
  scalars.second_correction = static_cast<float>(1 / (1 - std::pow(double{o.beta2}, t)));
  scalars.average_rate = 1 / static_cast<float>(t);
  return scalars;
}

/// An arena of one segment, or of several with different weight decay. All arrays that an optimizer
/// may need exist; `view()` leaves out those of Sign-In and of averages unless they are wanted.
struct Arena {
  Arena(const Backend& backend_, const Values& weights, const Values& momenta,
        std::vector<UpdateSegment> segments_, const std::vector<uint8_t>* masks)
      : backend(backend_),
        weight(backend, weights),
        momentum(backend, momenta),
        second(backend, Values(weights.size(), 0)),
        factor(backend, Values(weights.size(), 0)),
        average(backend, Values(weights.size(), 0)),
        grad(backend, momenta),
        mask(backend, masks ? *masks : std::vector<uint8_t>(weights.size(), 1)),
        segments(backend, segments_),
        segment_count(std::ssize(segments_)),
        masked(masks != nullptr) {}

  UpdateArena view() {
    UpdateArena arena;
    arena.weight = weight.data();
    arena.momentum = momentum.data();
    if (uses_second) arena.second = second.data();
    if (uses_factor) arena.factor = factor.data();
    if (uses_average) arena.average = average.data();
    arena.grad = grad.data();
    arena.mask = masked ? mask.data() : nullptr;
    arena.segments = segments.data();
    arena.segment_count = segment_count;
    arena.count = static_cast<int64_t>(weight.size());
    return arena;
  }
  void use_arrays_of(const Form& form) {
    uses_second = form.rule == UpdateRule::adamw || form.sign_in;
    uses_factor = form.sign_in;
    uses_average = form.average;
  }
  void update(const UpdateScalars& scalars, const UpdateOptions& options) {
    DeviceCopy device_scalars(backend, std::vector<UpdateScalars>{scalars});
    backend.masked_update.update(view(), device_scalars.data(), options, backend.stream);
  }

  const Backend& backend;
  Array weight, momentum, second, factor, average, grad;
  DeviceCopy<uint8_t> mask;
  DeviceCopy<UpdateSegment> segments;
  int64_t segment_count;
  bool masked;
  bool uses_second = false, uses_factor = false, uses_average = false;
};

}  // namespace sculpt::kernels::test
