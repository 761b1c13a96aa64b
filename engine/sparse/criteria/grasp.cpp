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

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x)
    sum += v * v;
  return std::sqrt(sum);
}

/// The prunable weights, and moves along a direction from where they were.
template <class T>
class WeightLine {
 public:
  WeightLine(ParameterArena& parameters, const std::vector<double>& direction)
      : parameters_(parameters), direction_(direction) {
    for (const Parameter& p : parameters.parameters())
      if (p.prunable)
        for (const T w : ParameterArena::slice(parameters.weights<T>(), p))
          origin_.push_back(w);
  }
  ~WeightLine() { move(0); }
  WeightLine(const WeightLine&) = delete;
  WeightLine& operator=(const WeightLine&) = delete;

  /// weights = origin + distance * direction; distance 0 gives the origin's very bits.
  void move(double distance) {
    size_t i = 0;
    for (const Parameter& p : parameters_.parameters()) {
      if (!p.prunable) continue;
      for (T& w : ParameterArena::slice(parameters_.weights<T>(), p)) {
        w = distance == 0
                ? origin_[i]
                : static_cast<T>(static_cast<double>(origin_[i]) + distance * direction_[i]);
        ++i;
      }
    }
  }
  std::vector<double> origin() const { return {origin_.begin(), origin_.end()}; }

 private:
  ParameterArena& parameters_;
  const std::vector<double>& direction_;
  std::vector<T> origin_;
};

template <class T>
std::vector<double> grasp_scores(const ScoreContext& context) {
  const std::vector<double> gradient = mean_score_gradient(context);
  WeightLine<T> line(context.network.parameters(), gradient);
  std::vector<double> scores = line.origin();
  const double gradient_norm = norm(gradient), weight_norm = norm(scores);
  if (!(gradient_norm > 0) || !(weight_norm > 0) || !std::isfinite(gradient_norm))
    fail(
        "grasp cannot score: the norm of the gradient is {}, of the weights {}; check the data "
        "and the initialisation",
        gradient_norm, weight_norm);

  const double c = std::cbrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
  const double h = c * weight_norm / gradient_norm;
  line.move(h);
  const std::vector<double> ahead = mean_score_gradient(context);
  line.move(-h);
  const std::vector<double> behind = mean_score_gradient(context);
  for (size_t i = 0; i < scores.size(); ++i)
    scores[i] *= (ahead[i] - behind[i]) / (2 * h);
  return scores;
}

}  // namespace

ScoreResult score_grasp(const ScoreContext& context, const PruneStep&) {
  if (context.network.parameters().element_bytes() == sizeof(double))
    return {grasp_scores<double>(context)};
  return {grasp_scores<float>(context)};
}

}  // namespace sculpt
