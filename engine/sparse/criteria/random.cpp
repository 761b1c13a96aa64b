#include "engine/core/random.h"

#include "engine/sparse/criteria.h"

namespace sculpt {

// Scores need 53 random bits. With 32 bits there would be ties among millions of weights, and ties
// favour early layers; with 53 bits, ties practically never occur.
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
