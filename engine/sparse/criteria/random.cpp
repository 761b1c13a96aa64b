#include "engine/core/random.h"

#include "engine/sparse/criteria.h"
#include "kernels/common/parallel.h"

namespace sculpt {

// 32 bits would tie among millions of weights and ties favour early layers; 53 bits practically
// never do.
ScoreResult score_random(const ScoreContext& context, const PruneStep&) {
  std::vector<double> scores(static_cast<size_t>(context.network.parameters().prunable_count()));
  const RandomStream stream(context.seed, Purpose::random_score);
  parallel_for(static_cast<int64_t>(scores.size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const auto w = stream.words(static_cast<uint64_t>(i));
      const uint64_t bits = (uint64_t{w[1]} << 32 | w[0]) >> 11;
      scores[static_cast<size_t>(i)] = static_cast<double>(bits) * 0x1p-53;
    }
  });
  return {std::move(scores)};
}

}  // namespace sculpt
