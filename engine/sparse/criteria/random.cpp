#include "engine/core/random.h"

#include "engine/sparse/criteria.h"

namespace sculpt {

// 32 bits would tie among millions of weights and ties favour early layers; 53 bits practically
// never do.
ScoreResult score_random(const ScoreContext& context, const PruneStep&, KeptWeights&) {
  const ParameterArena& parameters = context.network.parameters();
  const kernels::Backend& backend = parameters.backend();
  Buffer scores = zeroed_scores(parameters);
  backend.pruning.uniform(scores.as<double>(),
                          RandomStream(context.seed, Purpose::random_score).key(),
                          parameters.prunable_count(), backend.stream);
  return {{std::move(scores)}};
}

}  // namespace sculpt
