#include <cmath>

#include "engine/sparse/criteria.h"

namespace sculpt {

namespace {

template <class T>
std::vector<T> magnitudes(ParameterArena& parameters) {
  std::vector<T> scores;
  scores.reserve(static_cast<size_t>(parameters.prunable_count()));
  for (const Parameter& p : parameters.parameters())
    if (p.prunable)
      for (const T w : ParameterArena::slice(parameters.weights<T>(), p))
        scores.push_back(std::abs(w));
  return scores;
}

}  // namespace

ScoreResult score_magnitude(const ScoreContext& context, const PruneStep&) {
  ParameterArena& parameters = context.network.parameters();
  if (parameters.element_bytes() == sizeof(double)) return {magnitudes<double>(parameters)};
  return {magnitudes<float>(parameters)};
}

}  // namespace sculpt
