#pragma once
// The product of the Hessian of a loss with a vector, exact almost everywhere.
//
// With the activation patterns of the point w held (engine/autograd/activation_patterns.h) the
// gradient g is a smooth function of the weights, whose derivative at w is the Hessian H wherever
// the loss has one. So
//
//   H v = (g(w + h v) - g(w - h v)) / (2 h) + O(h^2)
//
// with patterns that are recorded at w, anew for every piece of every batch. The step h is found on
// the first piece: it begins at a fixed fraction of |w| / |v| and becomes shorter until the
// quotient no longer changes by more than a thousandth, or changes by rounding only. The usual
// difference quotient lets patterns change between its two gradients: ReLUs that change sides then
// count as curvature, which is nothing that the second derivative of a ReLU network has.

#include "engine/nn/mean_loss.h"

namespace sculpt {

/// H v over the prunable weights, where H is the Hessian of `loss` by the weights that are not
/// masked: elements of `direction` that belong to masked weights count as zero, and those of the
/// result are zero. Biases and batch norm's gamma and beta are constants.
///
/// `direction` and the result are like zeroed_scores() of the network's parameters: a double for
/// each prunable weight, in the memory of the network's backend. The direction is rounded to the
/// type of the weights; its length has no influence on the accuracy. A direction of zeros gives
/// zeros.
///
/// Weights, momentum, masks and running statistics are afterwards what they were, to their very
/// bits, after an exception too; gradients are overwritten. Activations that are gates are held in
/// memory once more meanwhile, and on a device that computes in shorter numbers than float, a copy
/// of the network that does not.
///
/// Throws Error if the weights are all zero, or if the direction or a gradient is not finite.
Buffer hessian_product(const MeanLoss& loss, const Buffer& direction);

}  // namespace sculpt
