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
  bool reads_images = false;  ///< the first layer: it has no input gradient
};
std::vector<LayerCost> layer_costs(const Network& network);

/// FLOPs of one training step per image at the masks' present densities: 2 FLOPs per MAC; forward +
/// input gradient + weight gradient, each scaled by the layer's density (methods.md, section 6).
double training_flops_per_image(const Network& network);
/// The same with no weight masked.
double dense_training_flops_per_image(const Network& network);

}  // namespace sculpt
