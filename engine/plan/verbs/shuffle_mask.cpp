#include <utility>

#include "engine/core/random.h"
#include "engine/plan/verbs/values.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

void shuffle_mask(const InterventionContext& context) {
  const auto parameters = context.network.parameters().parameters();
  change_mask(context.network, context.seed, [&](std::span<uint8_t> masks) {
    for (size_t id = 0; id < parameters.size(); ++id) {
      if (!parameters[id].prunable) continue;
      const auto step = static_cast<uint64_t>(context.plan_step);
      const RandomStream stream(context.seed, Purpose::shuffle_mask, (step << 32) | id);
      const auto mask = ParameterArena::slice(masks, parameters[id]);
      for (size_t i = mask.size(); i > 1; --i)  // Fisher-Yates
        std::swap(mask[i - 1], mask[stream.below(i - 1, i)]);
    }
  });
}

}  // namespace sculpt
