#pragma once
// Sgd is SGD with momentum. One pass updates the whole parameter arena and applies the masks
// (kernels/masked_sgd.h).

#include <cstdint>
#include <vector>

#include "engine/core/device_value.h"
#include "engine/optim/optimizer.h"
#include "kernels/masked_sgd.h"

namespace sculpt {

class Sgd : public Optimizer {
 public:
  Sgd(ParameterArena& parameters, const OptimOptions& options);

  void set_lr(double lr) override;
  /// Makes one update. If the norm of all unmasked gradients together, before weight decay, exceeds
  /// clip_norm, the gradients are scaled down to that norm.
  void step() override;
  using Optimizer::step;

  /// Returns the factor by which the last step scaled the gradients: below 1 if they were clipped.
  double clip_scale() const;
  /// Returns the number of table rows of the last step. Neighbouring parameters with the same
  /// weight decay are updated as one run of elements.
  int64_t segments() const { return segment_count_; }

 private:
  std::vector<kernels::SgdSegment> make_segments() const;
  void follow_layout();

  OptimOptions options_;
  SharedLayout layout_;  // the layout that segments_ describe
  int64_t segment_count_ = 0;
  MirroredBuffer segments_;  // elements are kernels::SgdSegment
  DeviceValue<kernels::SgdScalars> scalars_;
  Buffer workspace_;
};

}  // namespace sculpt
