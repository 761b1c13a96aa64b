#pragma once
// What a network costs to train, counted.

#include <string>
#include <vector>

#include "engine/nn/network.h"

namespace sculpt {

/// The counted cost of one image's forward pass, layer by layer, in graph order.
struct LayerCost {
  std::string name;
  ParameterId weight = -1;
  int64_t macs = 0;
  /// Whether the backward pass computes the gradient of the layer's input. Nothing reads that of
  /// the images, nor of what is computed from them without a weight (pooling, flatten, dropout).
  bool input_gradient = true;

  /// FLOPs of one training step for one image, at this density of the weight: 2 FLOPs per MAC;
  /// forward + weight gradient + input gradient where there is one.
  double training_flops(double density) const {
    return 2.0 * (input_gradient ? 3 : 2) * static_cast<double>(macs) * density;
  }
};
std::vector<LayerCost> layer_costs(const Network& network);

/// FLOPs of one training step per image at the masks' present densities: the sum of the layers'
/// training_flops().
double training_flops_per_image(const Network& network);
/// The same with no weight masked.
double dense_training_flops_per_image(const Network& network);

}  // namespace sculpt
