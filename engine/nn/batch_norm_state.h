#pragma once
// BatchNormState is a saved copy of the running statistics of a network's batch norm.

#include <cstdint>
#include <vector>

#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// A copy, in host memory, of the state at the time of construction.
class BatchNormState {
 public:
  explicit BatchNormState(const ParameterArena& parameters);
  /// Restores the statistics and the count of batches with exactly the same bits.
  void restore(ParameterArena& parameters) const;

 private:
  int64_t batches_tracked_;
  std::vector<double> values_;  // a float survives the conversion to double and back
};

/// Restores the state when it goes out of scope.
class KeepBatchNormState {
 public:
  explicit KeepBatchNormState(ParameterArena& parameters)
      : parameters_(parameters), state_(parameters) {}
  ~KeepBatchNormState() { state_.restore(parameters_); }
  KeepBatchNormState(const KeepBatchNormState&) = delete;
  KeepBatchNormState& operator=(const KeepBatchNormState&) = delete;

 private:
  ParameterArena& parameters_;
  BatchNormState state_;
};

}  // namespace sculpt
