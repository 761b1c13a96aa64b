// GraSP scores weights such that pruning preserves the gradient flow. If g is dL/dw over the kept
// prunable weights, and H is the Hessian with respect to these weights, then
//
//   score = w * (H g)
//
// Wang et al. remove the highest values of -w * (H g), which are the lowest scores here.

#include <cmath>

#include "engine/core/error.h"
#include "engine/nn/hessian_product.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

ScoreResult score_grasp(const ScoreContext& context, const PruneStep&, KeptWeights&) {
  const auto copy = in_full_precision(context.network);
  Network& network = copy ? *copy : context.network;
  const MeanLoss loss = mean_loss(context, network);
  const ParameterArena& parameters = network.parameters();
  const kernels::Backend& backend = parameters.backend();

  Buffer gradient = zeroed_scores(parameters);
  add_mean_gradient(loss, 1, gradient);
  Buffer workspace(backend.pruning.workspace_bytes(), "pruning scores", backend.memory);
  const double gradient_norm = backend.pruning.norm(
      gradient.as<double>(), parameters.prunable_count(), workspace.data(), backend.stream);
  if (!(gradient_norm > 0) || !std::isfinite(gradient_norm))
    fail(
        "grasp cannot score: the norm of the gradient is {}; start from other weights, or use "
        "another criterion",
        gradient_norm);

  Buffer scores = hessian_product(loss, gradient);
  backend.pruning.multiply(scores.as<double>(), parameters.weight_array(),
                           parameters.prunable_runs(), backend.stream);
  return {{std::move(scores)}};
}

}  // namespace sculpt
