#include "engine/nn/cost.h"

namespace sculpt {

double weight_density(const ParameterArena& parameters, ParameterId weight) {
  if (weight < 0) return 1;
  return parameters.pattern()->density(weight);
}

std::vector<LayerCost> layer_costs(const Network& network) {
  std::vector<LayerCost> costs;
  for (const auto& node : network.graph().nodes()) {
    if (node->info.macs == 0) continue;
    const bool input_gradient = network.graph().needs_grad(node->inputs[0]);
    costs.push_back({node->info.name, node->info.weight, node->info.macs, input_gradient});
  }
  return costs;
}

namespace {

/// Adds up the training FLOPs of all layers. density(weight) returns the density of a weight.
template <class Density>
double training_flops(const Network& network, Density&& density) {
  double flops = 0;
  for (const auto& layer : layer_costs(network)) {
    flops += layer.training_flops(density(layer.weight));
  }
  return flops;
}

}  // namespace

double training_flops_per_image(const Network& network) {
  const ParameterArena& parameters = network.parameters();
  return training_flops(network,
                        [&](ParameterId weight) { return weight_density(parameters, weight); });
}

double full_gradient_flops_per_image(const Network& network) {
  double flops = 0;
  for (const auto& layer : layer_costs(network))
    flops += layer.full_gradient_flops(weight_density(network.parameters(), layer.weight));
  return flops;
}

double dense_training_flops_per_image(const Network& network) {
  return training_flops(network, [](ParameterId) { return 1.0; });
}

}  // namespace sculpt
