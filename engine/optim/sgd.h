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

  /// One update from parameters().gradients(). Masked weights and momentum are exactly +0
  /// afterwards. Gradients are scaled down to clip_norm where their norm is larger (that of all
  /// unmasked gradients together, before weight decay).
  void step(double lr) {
    set_lr(lr);
    step();
  }
  /// The same in two parts: the learning rate of the steps to come,
  void set_lr(double lr);
  /// and the update, which only launches.
  void step();
  /// What the last step scaled the gradients by: below 1 if they were clipped.
  double clip_scale() const;

  /// At the start of every cycle.
  void zero_momentum() { parameters_.zero_momentum(); }

  /// Runs of parameters that are updated alike: neighbours with the same weight decay are one. As
  /// of the last step.
  int64_t segments() const { return segment_count_; }

 private:
  std::vector<kernels::SgdSegment> make_segments() const;
  void follow_stored_form();

  ParameterArena& parameters_;
  OptimOptions options_;
  StoredArray::Layout form_;  // that segments_ were made for
  int64_t segment_count_ = 0;
  MirroredBuffer segments_;  // kernels::SgdSegment
  DeviceValue<kernels::SgdScalars> scalars_;
  Buffer workspace_;
};

}  // namespace sculpt
