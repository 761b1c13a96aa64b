#pragma once
// Sgd is SGD with momentum, and optionally Sign-In (kernels/masked_update.h).
//
// Sign-In (optim.sign_in = P; Gadhikar & Burkholz 2025) trains each prunable weight as a product of
// two factors, w = f * u. The array "momentum" holds the momentum of u, "factor_momentum" that of
// f, and "factor" holds f. The arena holds the product, and u is w / f. Weight decay is that of the
// product: optim.weight_decay * w is added to the gradient of w, so that the loss is the same as
// without Sign-In. After every P epochs of a cycle, and at its start, the factors are balanced: f^2
// - u^2 = optim.sign_in_beta, with the same product and the same momenta. A factor of 0 says that
// the next step balances, and so a weight that is kept again starts balanced.

#include "engine/optim/fused_optimizer.h"

namespace sculpt {

class Sgd : public FusedOptimizer {
 public:
  Sgd(ParameterArena& parameters, const OptimOptions& options);

  void end_epoch() override;
  void reset() override;
  /// The value "epochs" is saved with Sign-In.
  OptimizerValues save() const override;
  void restore(const OptimizerValues& values) override;

 protected:
  void add_arrays(kernels::UpdateArena& arena) override;
  bool is_factored(const Parameter& parameter) const override;

 private:
  bool factors() const { return options().sign_in > 0; }

  int64_t epochs_ = 0;  // since the last reset()
};

}  // namespace sculpt
