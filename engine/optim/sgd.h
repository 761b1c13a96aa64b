#pragma once
// SGD with momentum over the whole parameter arena, fused with the masks (kernels/masked_sgd.h).

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
  /// Gradients are scaled down to clip_norm where their norm is larger. The norm is that of all
  /// unmasked gradients together, before weight decay.
  void step() override;
  using Optimizer::step;

  /// What the last step scaled the gradients by: below 1 if they were clipped.
  double clip_scale() const;
  /// The number of table rows of the last step. Neighbouring parameters with the same weight decay
  /// are updated as one run of elements.
  int64_t segments() const { return segment_count_; }

 private:
  std::vector<kernels::SgdSegment> make_segments() const;
  void follow_layout();

  OptimOptions options_;
  StoredArray::SharedLayout layout_;  // that segments_ were made for
  int64_t segment_count_ = 0;
  MirroredBuffer segments_;  // kernels::SgdSegment
  DeviceValue<kernels::SgdScalars> scalars_;
  Buffer workspace_;
};

}  // namespace sculpt
