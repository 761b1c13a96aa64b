#pragma once
// Computes the product of the Hessian of a loss with a vector, exactly almost everywhere.
//
// The gradient g is a smooth function of the weights while the activation patterns of the point w
// are held (engine/autograd/activation_patterns.h). Its derivative at w is the Hessian H wherever
// the loss has one. So
//
//   H v = (g(w + h v) - g(w - h v)) / (2 h) + O(h^2)
//
// with patterns that are recorded at w for every piece of every batch. The step h is found on the
// first piece. It begins at a fixed fraction of |w| / |v| and becomes shorter until the quotient no
// longer changes by more than a thousandth, or changes by rounding only. The usual difference
// quotient lets patterns change between its two gradients: ReLUs that change sides then count as
// curvature, although the second derivative of a ReLU network has no such term.

#include <span>
#include <vector>

#include "engine/nn/mean_loss.h"

namespace sculpt {

/// Returns H v over the prunable weights, where H is the Hessian of `loss` with respect to the
/// weights that are not masked. Elements of `direction` at masked weights count as zero, and the
/// result is zero there. Biases and batch norm's gamma and beta are constants.
///
/// `direction` and the result have the format of zeroed_scores() for the network's parameters: a
/// double for each prunable weight, in the memory of the network's backend. The direction is
/// rounded to the type of the weights; its length does not affect the accuracy. A direction of
/// zeros gives zeros.
///
/// Afterwards, also after an exception, weights, momentum, masks and running statistics have
/// exactly the same bits as before. Gradients are overwritten. During the call, activations that
/// are gates are in memory twice. On a device that computes with less precision than float, the
/// call also allocates a copy of the network that computes in float.
///
/// Throws Error if the weights are all zero, or if the direction or a gradient is not finite.
Buffer hessian_product(const MeanLoss& loss, const Buffer& direction);

/// Returns H v for each of several directions, with the same bits as hessian_product(). All
/// directions share the loaded images and the recorded patterns of a piece, so each direction costs
/// two forward and two backward passes, and the pass that records is run once for all of them. The
/// call holds two arrays of zeroed_scores() for each direction.
std::vector<Buffer> hessian_products(const MeanLoss& loss, std::span<const Buffer> directions);

}  // namespace sculpt
