#pragma once
// SGD with momentum over the whole parameter arena, fused with the masks.

#include <cstdint>
#include <vector>

#include "engine/autograd/parameters.h"
#include "engine/optim/options.h"
#include "kernels/masked_sgd.h"

namespace sculpt {

class Sgd {
 public:
  /// The arena must be allocated, and must outlive this object.
  Sgd(const kernels::MaskedSgdKernels& kernels, ParameterArena& parameters,
      const OptimOptions& options);

  /// One update from parameters().gradients(). Masked weights and momentum are exactly +0
  /// afterwards. Returns the factor gradients were scaled by: below 1 if they were clipped to
  /// clip_norm (the norm is that of all unmasked gradients together, before weight decay).
  double step(double lr);

  /// At the start of every cycle.
  void zero_momentum();

  /// Kernel calls per step: neighbouring parameters with the same weight decay are one call.
  int64_t segments() const { return static_cast<int64_t>(segments_.size()); }

 private:
  struct Segment {
    int64_t offset = 0;
    int64_t count = 0;
    double weight_decay = 0;
  };
  double clip_scale() const;
  template <class T>
  void update(const Segment& segment, kernels::SgdStep step);

  kernels::MaskedSgdKernels kernels_;
  ParameterArena& parameters_;
  OptimOptions options_;
  std::vector<Segment> segments_;
};

}  // namespace sculpt
