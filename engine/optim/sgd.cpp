#include "engine/optim/sgd.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace sculpt {

namespace {

bool is_norm_or_bias(ParameterKind kind) {
  return kind == ParameterKind::bias || kind == ParameterKind::norm_weight ||
         kind == ParameterKind::norm_bias;
}

}  // namespace

Sgd::Sgd(const kernels::MaskedSgdKernels& kernels, ParameterArena& parameters,
         const OptimOptions& options)
    : kernels_(kernels), parameters_(parameters), options_(options) {
  for (const Parameter& p : parameters.parameters()) {
    const bool exempt = !options.decay_norm_and_bias && is_norm_or_bias(p.kind);
    const double decay = exempt ? 0 : options.weight_decay;
    if (!segments_.empty()) {
      Segment& last = segments_.back();
      if (last.weight_decay == decay && last.offset + last.count == p.offset) {
        last.count += p.count;
        continue;
      }
    }
    segments_.push_back({p.offset, p.count, decay});
  }
}

double Sgd::clip_scale() const {
  if (options_.clip_norm <= 0) return 1;
  const void* gradients = parameters_.element_bytes() == sizeof(double)
                              ? static_cast<const void*>(parameters_.gradients<double>().data())
                              : parameters_.gradients().data();
  const double norm = std::sqrt(
      kernels_.sum_of_squares(gradients, parameters_.masks().data(), parameters_.count(), nullptr));
  return norm > options_.clip_norm ? options_.clip_norm / norm : 1;
}

template <class T>
void Sgd::update(const Segment& segment, kernels::SgdStep step) {
  const auto at = static_cast<size_t>(segment.offset);
  step.weight_decay = static_cast<float>(segment.weight_decay);
  kernels_.update(parameters_.weights<T>().data() + at, parameters_.momentum<T>().data() + at,
                  parameters_.gradients<T>().data() + at, parameters_.masks().data() + at,
                  segment.count, step, nullptr);
}

double Sgd::step(double lr) {
  const double scale = clip_scale();
  kernels::SgdStep step;
  step.lr = static_cast<float>(lr);
  step.momentum = static_cast<float>(options_.momentum);
  step.nesterov = options_.nesterov;
  step.grad_scale = static_cast<float>(scale);
  for (const Segment& segment : segments_) {
    if (parameters_.element_bytes() == sizeof(double))
      update<double>(segment, step);
    else
      update<float>(segment, step);
  }
  return scale;
}

void Sgd::zero_momentum() {
  if (parameters_.element_bytes() == sizeof(double))
    std::ranges::fill(parameters_.momentum<double>(), 0.0);
  else
    std::ranges::fill(parameters_.momentum(), 0.0f);
}

}  // namespace sculpt
