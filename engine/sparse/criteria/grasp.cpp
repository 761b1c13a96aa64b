// GraSP: keeps the gradient flow after pruning. With g = dL/dw over the kept prunable weights,
//
//   score = w * (H g),   H g = (g(w + h g) - g(w - h g)) / (2 h),   h = c * |w| / |g|
//
// so that the step moves the weights by the fraction c of their norm. c = cbrt(machine epsilon) of
// the network's arithmetic (0.005 in float, 6e-6 in double) balances the truncation error, which
// grows with h^2, against the rounding of gradients, which grows with 1 / h.
//
// ReLUs that change sides within the step count as curvature here and not in the exact Hessian. On
// a half-width ResNet-20 at initialisation (100 CIFAR-10 images) the best 10 % by this score and by
// the exact one overlap by 0.45 at c = 0.005, 0.46 at 0.01 and 0.02, and less for smaller and
// larger c.

#include <cmath>
#include <limits>

#include "engine/core/error.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

namespace {

double norm(const Buffer& values, const kernels::Backend& backend) {
  Buffer workspace(backend.pruning.workspace_bytes(), "pruning scores", backend.memory);
  const auto count = static_cast<int64_t>(values.bytes() / sizeof(double));
  return backend.pruning.norm(values.as<double>(), count, workspace.data(), backend.stream);
}

/// The prunable weights, and moves along a direction from where they were.
class WeightLine {
 public:
  WeightLine(ParameterArena& parameters, const Buffer& direction)
      : parameters_(parameters), direction_(direction), origin_(zeroed_scores(parameters)) {
    const kernels::Backend& backend = parameters.backend();
    backend.pruning.gather(origin_.as<double>(), parameters.weight_array(),
                           parameters.prunable_runs(), backend.stream);
  }
  ~WeightLine() {
    if (!away_) return;
    try {
      move(0);
    } catch (const Error&) {  // the error that led here says more
    }
  }
  WeightLine(const WeightLine&) = delete;
  WeightLine& operator=(const WeightLine&) = delete;

  /// weights = origin + distance * direction; distance 0 gives the origin's very bits.
  void move(double distance) {
    const kernels::Backend& backend = parameters_.backend();
    backend.pruning.move(parameters_.mutable_weight_array(), origin_.as<double>(),
                         direction_.as<double>(), distance, parameters_.prunable_runs(),
                         backend.stream);
    away_ = distance != 0;
  }
  const Buffer& origin() const { return origin_; }

 private:
  ParameterArena& parameters_;
  const Buffer& direction_;
  Buffer origin_;
  bool away_ = false;
};

double machine_epsilon(const ParameterArena& parameters) {
  return parameters.element_bytes() == sizeof(double)
             ? std::numeric_limits<double>::epsilon()
             : static_cast<double>(std::numeric_limits<float>::epsilon());
}

}  // namespace

ScoreResult score_grasp(const ScoreContext& context, const PruneStep&, KeptWeights&) {
  ParameterArena& parameters = context.network.parameters();
  const kernels::Backend& backend = parameters.backend();
  Buffer gradient = zeroed_scores(parameters);
  add_mean_gradient(context, 1, gradient);
  WeightLine line(parameters, gradient);
  const double gradient_norm = norm(gradient, backend), weight_norm = norm(line.origin(), backend);
  if (!(gradient_norm > 0) || !(weight_norm > 0) || !std::isfinite(gradient_norm))
    fail(
        "grasp cannot score: the norm of the gradient is {}, of the weights {}; check the data "
        "and the initialisation",
        gradient_norm, weight_norm);

  const double h = std::cbrt(machine_epsilon(parameters)) * weight_norm / gradient_norm;
  Buffer scores = zeroed_scores(parameters);
  line.move(h);
  add_mean_gradient(context, 1 / (2 * h), scores);
  line.move(-h);
  add_mean_gradient(context, -1 / (2 * h), scores);
  line.move(0);
  backend.pruning.multiply(scores.as<double>(), std::as_const(parameters).weight_array(),
                           parameters.prunable_runs(), backend.stream);
  return {{std::move(scores)}};
}

}  // namespace sculpt
