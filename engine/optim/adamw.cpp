#include "engine/optim/adamw.h"

#include <cmath>

namespace sculpt {
namespace {

constexpr size_t kSecondMoment = 1;  // position in the list of state arrays

kernels::UpdateOptions update_options(const OptimOptions& options) {
  kernels::UpdateOptions update;
  update.rule = kernels::UpdateRule::adamw;
  update.beta1 = static_cast<float>(options.beta1);
  update.beta2 = static_cast<float>(options.beta2);
  update.one_minus_beta1 = static_cast<float>(1 - options.beta1);
  update.one_minus_beta2 = static_cast<float>(1 - options.beta2);
  update.epsilon = static_cast<float>(options.epsilon);
  return update;
}

double correction(double beta, int64_t steps) {
  return 1 / (1 - std::pow(beta, static_cast<double>(steps)));
}

}  // namespace

AdamW::AdamW(ParameterArena& parameters, const OptimOptions& options)
    : FusedOptimizer(parameters, options, update_options(options), {"momentum", "second_moment"}) {
  follow_layout();
}

void AdamW::add_arrays(kernels::UpdateArena& arena) {
  arena.second = parameters().edit_stored_optimizer_array(array(kSecondMoment));
}

void AdamW::add_scalars(kernels::UpdateScalars& scalars) const {
  scalars.first_correction = static_cast<float>(correction(options().beta1, steps()));
  scalars.second_correction = static_cast<float>(correction(options().beta2, steps()));
}

}  // namespace sculpt
