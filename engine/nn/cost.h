#pragma once
// Counts what a network costs to train.

#include <string>
#include <vector>

#include "engine/nn/network.h"

namespace sculpt {

/// Returns the FLOPs of `passes` passes (forward, weight gradient, input gradient) of a layer with
/// this many multiply-accumulates per pass: 2 FLOPs for each whose weight the mask keeps. All
/// counts of FLOPs come from this formula.
constexpr double layer_flops(int64_t macs, double density, int passes) {
  return 2.0 * passes * static_cast<double>(macs) * density;
}

/// Returns the number of kept weights divided by the number of all weights; 1 if `weight` is
/// negative, as it is for a layer without a weight.
double weight_density(const ParameterArena& parameters, ParameterId weight);

/// The counted cost of one image's forward pass, layer by layer, in graph order.
struct LayerCost {
  std::string name;
  ParameterId weight = -1;
  int64_t macs = 0;
  /// False if the backward pass does not compute the gradient of the layer's input. This is the
  /// case if the input is the images, or was computed from them without a weight (pooling, flatten,
  /// dropout), because nothing reads that gradient.
  bool input_gradient = true;

  /// Returns the FLOPs of one training step for one image, at this density of the weight: the
  /// forward pass, the weight gradient and, if it is computed, the input gradient.
  double training_flops(double density) const {
    return layer_flops(macs, density, input_gradient ? 3 : 2);
  }
  /// Returns the FLOPs that a training step has more for one image if it computes the gradients of
  /// all weights, masked ones included (FullGradients).
  double full_gradient_flops(double density) const { return layer_flops(macs, 1 - density, 1); }
};
std::vector<LayerCost> layer_costs(const Network& network);

/// Returns the FLOPs of one training step per image at the current densities of the masks: the sum
/// of the layers' training_flops().
double training_flops_per_image(const Network& network);
/// Returns the FLOPs per image that a training step has more if it computes the gradients of all
/// weights: the sum of the layers' full_gradient_flops().
double full_gradient_flops_per_image(const Network& network);
/// Returns training_flops_per_image() of the same network without masked weights.
double dense_training_flops_per_image(const Network& network);

}  // namespace sculpt
