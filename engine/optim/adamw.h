#pragma once
// AdamW is Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW. The
// arrays are "momentum", the mean of gradients, and "second_moment", the mean of their squares. The
// bias corrections depend on the number of steps of the cycle. A weight that is kept again starts
// with moments of zero and gets the corrections of all other weights.

#include "engine/optim/fused_optimizer.h"

namespace sculpt {

class AdamW : public FusedOptimizer {
 public:
  AdamW(ParameterArena& parameters, const OptimOptions& options);

 protected:
  void add_arrays(kernels::UpdateArena& arena) override;
  void add_scalars(kernels::UpdateScalars& scalars) const override;
  bool depends_on_steps() const override { return true; }
};

}  // namespace sculpt
