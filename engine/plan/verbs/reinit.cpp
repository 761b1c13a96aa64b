#include "engine/core/random.h"
#include "engine/plan/verbs/values.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

namespace {

/// Returns the weights of the fresh network.
std::vector<float> fresh_weights(const InterventionContext& context) {
  const RandomStream stream(context.seed, Purpose::reinitialise);
  const auto words = stream.words(static_cast<uint64_t>(context.plan_step));
  return context.network.initial_weights((uint64_t{words[1]} << 32) | words[0]);
}

void reset_batch_norm_state(ParameterArena& arena) {
  std::vector<float> values;
  for (const StateArray& s : arena.states())
    values.insert(values.end(), static_cast<size_t>(s.count), s.initial);
  set_states(arena, values);
  arena.batches_tracked = 0;
}

}  // namespace

void reinit_all(const InterventionContext& context) {
  const std::vector<float> fresh = fresh_weights(context);
  ParameterArena& arena = context.network.parameters();
  change_weights(arena, [&](const Parameter&, size_t i, double) { return double{fresh[i]}; });
  reset_batch_norm_state(arena);
}

void reinit_keep_signs(const InterventionContext& context) {
  const std::vector<float> fresh = fresh_weights(context);
  ParameterArena& arena = context.network.parameters();
  change_weights(arena, [&](const Parameter& p, size_t i, double old) {
    return is_layer_weight(p) ? with_sign_of(fresh[i], old) : double{fresh[i]};
  });
  reset_batch_norm_state(arena);
}

void reinit_keep_magnitudes(const InterventionContext& context) {
  const std::vector<float> fresh = fresh_weights(context);
  change_weights(context.network.parameters(), [&](const Parameter& p, size_t i, double old) {
    return is_layer_weight(p) ? with_sign_of(old, fresh[i]) : old;
  });
}

}  // namespace sculpt
