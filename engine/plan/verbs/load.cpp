#include <algorithm>

#include "engine/plan/verbs/values.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

void load_weights(const InterventionContext& context) {
  const std::vector<float>& stored = context.stored->weights;
  change_weights(context.network.parameters(), [&](const Parameter& p, size_t i, double old) {
    return is_batch_norm(p) ? old : double{stored[i]};
  });
}

void load_mask(const InterventionContext& context) {
  change_mask(context.network, context.seed, [&](std::span<uint8_t> masks) {
    std::ranges::copy(context.stored->masks, masks.begin());
  });
}

void load_signs(const InterventionContext& context) {
  const std::vector<float>& stored = context.stored->weights;
  change_weights(context.network.parameters(), [&](const Parameter& p, size_t i, double old) {
    return is_layer_weight(p) ? with_sign_of(old, stored[i]) : old;
  });
}

void load_batch_norm(const InterventionContext& context) {
  const StoredNetwork& stored = *context.stored;
  ParameterArena& arena = context.network.parameters();
  change_weights(arena, [&](const Parameter& p, size_t i, double old) {
    return is_batch_norm(p) ? double{stored.weights[i]} : old;
  });
  set_states(arena, stored.states);
  arena.batches_tracked = stored.batches_tracked;
}

}  // namespace sculpt
