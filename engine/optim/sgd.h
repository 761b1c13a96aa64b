#pragma once
// SGD with momentum over the whole parameter arena, fused with the masks.

#include <cstdint>
#include <vector>

#include "engine/core/device_value.h"
#include "engine/optim/optim_options.h"
#include "engine/parameters/parameter_arena.h"
#include "kernels/masked_sgd.h"

namespace sculpt {

class Sgd {
 public:
  /// The arena must be allocated, and must outlive this object.
  Sgd(ParameterArena& parameters, const OptimOptions& options);

  /// Makes one update from parameters().gradients(). Afterwards, masked weights and their momentum
  /// are exactly +0. If the norm of the gradients exceeds clip_norm, the gradients are scaled down
  /// to clip_norm. The norm is that of all unmasked gradients together, before weight decay.
  void step(double lr) {
    set_lr(lr);
    step();
  }
  /// The same in two parts. This part sets the learning rate of the following steps.
  void set_lr(double lr);
  /// This part makes the update. It only launches kernels.
  void step();
  /// The factor by which the last step scaled the gradients: below 1 if they were clipped.
  double clip_scale() const;

  /// Zeroes the momentum. Called at the start of every cycle.
  void zero_momentum() { parameters_.zero_momentum(); }

  /// The number of ranges of parameters that are updated alike in the last step. Neighbouring
  /// parameters with the same weight decay form one range.
  int64_t segments() const { return segment_count_; }

 private:
  std::vector<kernels::SgdSegment> make_segments() const;
  void follow_stored_form();

  ParameterArena& parameters_;
  OptimOptions options_;
  StoredArray::Layout form_;  // layout that segments_ were made for
  int64_t segment_count_ = 0;
  MirroredBuffer segments_;  // array of kernels::SgdSegment
  DeviceValue<kernels::SgdScalars> scalars_;
  Buffer workspace_;
};

}  // namespace sculpt
