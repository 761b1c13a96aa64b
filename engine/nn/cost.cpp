#include "engine/nn/cost.h"

namespace sculpt {

std::vector<LayerCost> layer_costs(const Network& network) {
  std::vector<LayerCost> costs;
  for (const auto& node : network.graph().nodes()) {
    if (node->info.macs == 0) continue;
    const bool input_gradient = network.graph().needs_grad(node->inputs[0]);
    costs.push_back({node->info.name, node->info.weight, node->info.macs, input_gradient});
  }
  return costs;
}

double training_flops_per_image(const Network& network) {
  double flops = 0;
  for (const auto& layer : layer_costs(network)) {
    const auto& parameters = network.parameters();
    const double density = static_cast<double>(parameters.kept_count(layer.weight)) /
                           static_cast<double>(parameters[layer.weight].count);
    flops += layer.training_flops(density);
  }
  return flops;
}

}  // namespace sculpt
