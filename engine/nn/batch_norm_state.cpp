#include "engine/nn/batch_norm_state.h"

#include <algorithm>

namespace sculpt {

BatchNormState::BatchNormState(const ParameterArena& parameters)
    : batches_tracked_(parameters.batches_tracked) {
  const auto copy = [&](auto values) { values_.assign(values.begin(), values.end()); };
  if (parameters.element_bytes() == sizeof(double))
    copy(parameters.state_values<double>());
  else
    copy(parameters.state_values<float>());
}

void BatchNormState::restore(ParameterArena& parameters) const {
  const auto copy = [&]<class T>(std::span<T> to) {
    std::ranges::transform(values_, to.begin(), [](double v) { return static_cast<T>(v); });
  };
  if (parameters.element_bytes() == sizeof(double))
    copy(parameters.edit_state_values<double>());
  else
    copy(parameters.edit_state_values<float>());
  parameters.batches_tracked = batches_tracked_;
}

}  // namespace sculpt
