#include "engine/sparse/criteria.h"

namespace sculpt {

// Computes the connection sensitivity: the change of the loss, to first order, if the weight is
// removed.
ScoreResult score_snip(const ScoreContext& context, const PruneStep&, KeptWeights&) {
  const ParameterArena& parameters = context.network.parameters();
  const kernels::Backend& backend = parameters.backend();
  Buffer scores = zeroed_scores(parameters);
  add_mean_gradient(mean_loss(context, context.network), 1, scores);
  backend.pruning.multiply(scores.as<double>(), parameters.weight_array(),
                           parameters.prunable_runs(), backend.stream);
  backend.pruning.absolute(scores.as<double>(), parameters.prunable_count(), backend.stream);
  return {{std::move(scores)}};
}

}  // namespace sculpt
