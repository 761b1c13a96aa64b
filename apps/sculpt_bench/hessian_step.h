#pragma once
// Compares the cost of a product with the Hessian with that of a training step on as many images.

#include <vector>

#include "apps/sculpt_bench/masks.h"

namespace sculpt::bench {

struct HessianStepOptions {
  int rounds = 5;
  double least_seconds = 1;  ///< of a block of training steps; a product is at least one call
  int batches = 8;           ///< batches of a product; the first one also finds the step length
  int directions = 8;        ///< of the products that share their passes
};

/// Prints a table with a row for each network: training step, one product, several products
/// together, and the quotients. Products are per batch and direction.
void print_hessian_steps(const std::vector<MaskedModel>& models, const HessianStepOptions& options);

}  // namespace sculpt::bench
