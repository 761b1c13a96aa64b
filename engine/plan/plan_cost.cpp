#include "engine/plan/plan_cost.h"

#include <map>

#include "engine/core/error.h"
#include "engine/nn/cost.h"
#include "engine/sparse/allocation.h"

namespace sculpt {
namespace {

/// Tracks the number of kept weights of each layer through a plan.
class Layers {
 public:
  explicit Layers(const Network& network)
      : network_(network),
        costs_(layer_costs(network)),
        layers_(prunable_layers(network.parameters())) {
    for (const PrunableLayer& layer : layers_)
      total_ += layer.count;
  }

  double density() const { return total_ > 0 ? double(present()) / double(total_) : 1; }

  /// Applies a prune. Returns true if its split over the layers is an assumption.
  bool prune(const PruneStep& step) {
    const int64_t kept = count_to_keep(step.density, total_, present());
    const Allocation& allocation = find_allocation(step.allocation);
    // Without scores, a global ranking is assumed to take the same fraction from each layer, so
    // shares are proportional to the weights left.
    const Allocation proportional{"proportional",
                                  [](const PrunableLayer& l) { return double(l.present); }, ""};
    const bool global = allocation.share == nullptr;
    const auto counts = allocate(global ? proportional : allocation, layers_, kept);
    for (size_t l = 0; l < layers_.size(); ++l)
      layers_[l].present = counts[l];
    return global;
  }

  std::vector<int64_t> kept() const {
    std::vector<int64_t> counts;
    for (const PrunableLayer& layer : layers_)
      counts.push_back(layer.present);
    return counts;
  }
  std::vector<std::string> empty() const {
    std::vector<std::string> names;
    for (const PrunableLayer& layer : layers_)
      if (layer.present == 0) names.push_back(layer.name);
    return names;
  }

  double training_flops_per_image() const {
    std::map<std::string, double> density;
    for (const PrunableLayer& l : layers_)
      density[l.name] = double(l.present) / double(l.count);
    double flops = 0;
    for (const LayerCost& cost : costs_) {
      const std::string& weight = network_.parameters()[cost.weight].name;
      const auto found = density.find(weight);
      flops += cost.training_flops(found == density.end() ? 1 : found->second);
    }
    return flops;
  }

 private:
  int64_t present() const {
    int64_t n = 0;
    for (const PrunableLayer& layer : layers_)
      n += layer.present;
    return n;
  }

  const Network& network_;
  std::vector<LayerCost> costs_;
  std::vector<PrunableLayer> layers_;
  int64_t total_ = 0;
};

}  // namespace

PlanCost plan_cost(const Plan& plan, const Network& network, int64_t train_images) {
  Layers layers(network);
  PlanCost total;
  for (size_t i = 0; i < plan.size(); ++i) {
    const PlanStep& step = plan[i];
    PlanStepCost cost;
    if (const auto* prune = std::get_if<PruneStep>(&step)) {
      try {
        total.estimated = layers.prune(*prune) || total.estimated;
      } catch (const Error& error) {
        fail("step {} of the plan, \"{}\": {}", i + 1, describe(step), error.what());
      }
      if (!total.estimated) cost.empty_layers = layers.empty();
    }
    if (const auto* train = std::get_if<Cycle>(&step)) {
      cost.epochs = train->epochs - train->first_epoch;
      cost.flops = layers.training_flops_per_image() * double(train_images) * double(cost.epochs);
    }
    cost.density = layers.density();
    cost.kept = layers.kept();
    total.epochs += cost.epochs;
    total.flops += cost.flops;
    total.steps.push_back(cost);
  }
  return total;
}

}  // namespace sculpt
