#include "engine/core/random.h"

#include "engine/sparse/criteria.h"

namespace sculpt {

// Scores need 53 random bits. 32 bits would lead to ties among millions of weights, and ties favour
// early layers. Scores of 53 bits practically never tie.
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
