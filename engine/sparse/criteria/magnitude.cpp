#include "engine/sparse/criteria.h"

namespace sculpt {

ScoreResult score_magnitude(const ScoreContext& context, const PruneStep&, KeptWeights&) {
  const ParameterArena& parameters = context.network.parameters();
  const kernels::Backend& backend = parameters.backend();
  const size_t element_bytes = parameters.element_bytes();
  Buffer scores(static_cast<size_t>(parameters.prunable_count()) * element_bytes, "pruning scores",
                backend.memory);
  backend.pruning.magnitude(scores.data(), parameters.weight_array(), parameters.prunable_runs(),
                            backend.stream);
  return {{std::move(scores), element_bytes}};
}

}  // namespace sculpt
