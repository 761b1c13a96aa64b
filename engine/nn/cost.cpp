#include "engine/nn/cost.h"

#include <algorithm>

namespace sculpt {

std::vector<LayerCost> layer_costs(const Network& network) {
  std::vector<LayerCost> costs;
  for (const auto& node : network.graph().nodes()) {
    if (node->info.macs == 0) continue;
    const bool first =
        std::ranges::any_of(node->inputs, [&](Value v) { return network.graph().is_input(v); });
    costs.push_back({node->info.name, node->info.weight, node->info.macs, first});
  }
  return costs;
}

double training_flops_per_image(const Network& network) {
  double flops = 0;
  for (const auto& layer : layer_costs(network)) {
    const auto& parameters = network.parameters();
    const double density = static_cast<double>(parameters.kept_count(layer.weight)) /
                           static_cast<double>(parameters[layer.weight].count);
    const double passes = layer.reads_images ? 2 : 3;
    flops += 2 * passes * static_cast<double>(layer.macs) * density;
  }
  return flops;
}

}  // namespace sculpt
