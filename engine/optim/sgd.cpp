#include "engine/optim/sgd.h"

#include <string>
#include <vector>

namespace sculpt {
namespace {

constexpr const char* kEpochs = "epochs";
constexpr size_t kFactor = 1, kFactorMomentum = 2;  // positions in the list of state arrays

std::vector<std::string> arrays_of(const OptimOptions& options) {
  if (options.sign_in == 0) return {"momentum"};
  return {"momentum", "factor", "factor_momentum"};
}

kernels::UpdateOptions update_options(const OptimOptions& options) {
  kernels::UpdateOptions update;
  update.rule = kernels::UpdateRule::sgd;
  update.momentum = static_cast<float>(options.momentum);
  update.nesterov = options.nesterov;
  update.sign_in_beta = static_cast<float>(options.sign_in_beta);
  return update;
}

}  // namespace

Sgd::Sgd(ParameterArena& parameters, const OptimOptions& options)
    : FusedOptimizer(parameters, options, update_options(options), arrays_of(options)) {
  follow_layout();
}

void Sgd::add_arrays(kernels::UpdateArena& arena) {
  if (!factors()) return;
  arena.factor = parameters().edit_stored_optimizer_array(array(kFactor));
  arena.second = parameters().edit_stored_optimizer_array(array(kFactorMomentum));
}

bool Sgd::is_factored(const Parameter& parameter) const {
  return factors() && parameter.prunable && parameter.shape.size() >= 2;
}

void Sgd::end_epoch() {
  ++epochs_;
  if (factors() && epochs_ % options().sign_in == 0)
    parameters().zero_optimizer_array(array(kFactor));  // the next step balances the factors
}

void Sgd::reset() {
  FusedOptimizer::reset();
  epochs_ = 0;
}

OptimizerValues Sgd::save() const {
  OptimizerValues values = FusedOptimizer::save();
  if (factors()) values[kEpochs] = std::to_string(epochs_);
  return values;
}

void Sgd::restore(const OptimizerValues& values) {
  FusedOptimizer::restore(values);
  epochs_ = factors() ? saved_count(values, kEpochs) : 0;
}

}  // namespace sculpt
