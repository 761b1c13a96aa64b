#include <cmath>

#include "engine/sparse/criteria.h"

namespace sculpt {

// Connection sensitivity: how much the loss changes, to first order, if the weight is removed.
ScoreResult score_snip(const ScoreContext& context, const PruneStep& step) {
  const ScoreResult magnitude = score_magnitude(context, step);
  std::vector<double> scores = mean_score_gradient(context);
  std::visit(
      [&](const auto& weights) {
        for (size_t i = 0; i < scores.size(); ++i)
          scores[i] = std::abs(scores[i]) * static_cast<double>(weights[i]);
      },
      magnitude.scores);
  return {std::move(scores)};
}

}  // namespace sculpt
