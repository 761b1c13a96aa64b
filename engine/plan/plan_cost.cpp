#include "engine/plan/plan_cost.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/error.h"
#include "engine/masks/mask_checks.h"
#include "engine/masks/mask_rule.h"
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

  /// Applies a change of masks during a cycle. Every layer gains or loses the same fraction; a rule
  /// that grows to density 1 keeps all weights.
  void change_to(double density) {
    const int64_t kept = kept_for_density(density, total_);
    if (kept > present()) keep_all();
    if (kept < present()) prune({"", "global", density});
  }

  void keep_all() {
    for (PrunableLayer& layer : layers_)
      layer.present = layer.count;
  }

  /// Returns true if as many weights as the density needs are left. The density that an earlier
  /// step has left may be below its nominal value, because counts are whole.
  bool reaches(double density) const { return kept_for_density(density, total_) <= present(); }

  /// Throws Error if the density keeps no weight, or if every layer is exempt.
  void require_kept(double density) const { count_to_keep(density, total_, total_); }

  /// Takes over the mask of a file.
  void load(const std::vector<uint8_t>& masks) {
    for (PrunableLayer& layer : layers_) {
      const auto begin = masks.begin() + layer.offset;
      layer.present = std::count(begin, begin + layer.count, uint8_t{1});
    }
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
    return flops(
        [](const LayerCost& cost, double density) { return cost.training_flops(density); });
  }
  double full_gradient_flops_per_image() const {
    return flops(
        [](const LayerCost& cost, double density) { return cost.full_gradient_flops(density); });
  }

 private:
  /// Adds up of_layer(cost, density) of all layers.
  template <class OfLayer>
  double flops(const OfLayer& of_layer) const {
    std::map<std::string, double> density;
    for (const PrunableLayer& l : layers_)
      density[l.name] = double(l.present) / double(l.count);
    double flops = 0;
    for (const LayerCost& cost : costs_) {
      const std::string& weight = network_.parameters()[cost.weight].name;
      const auto found = density.find(weight);
      flops += of_layer(cost, found == density.end() ? 1 : found->second);
    }
    return flops;
  }

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

/// The mean of counts over training steps.
class MeanCounts {
 public:
  void add(const std::vector<int64_t>& counts, int64_t steps) {
    sums_.resize(counts.size());
    for (size_t i = 0; i < counts.size(); ++i)
      sums_[i] += double(counts[i]) * double(steps);
    steps_ += steps;
  }
  std::vector<int64_t> mean() const {
    std::vector<int64_t> counts;
    for (const double sum : sums_)
      counts.push_back(std::llround(sum / double(steps_)));
    return counts;
  }

 private:
  std::vector<double> sums_;
  int64_t steps_ = 0;
};

/// Walks through a plan and adds up its cost.
class Walk {
 public:
  Walk(const Network& network, const CostSettings& settings)
      : layers_(network), settings_(settings) {}

  /// Each function applies one step of the plan and writes its cost into `cost`.
  void apply(const PruneStep& step, PlanStepCost& cost) {
    if (layers_.prune(step)) estimated_ = true;
    if (!estimated_) cost.empty_layers = layers_.empty();
  }
  void apply(const RewindStep&, PlanStepCost&) {}
  void apply(const Intervention& step, PlanStepCost&) {
    if (find_action(step.action).reads != FilePart::masks) return;
    const StoredNetwork* const stored = settings_.stored ? settings_.stored(step) : nullptr;
    if (stored != nullptr) {
      layers_.load(stored->masks);
      if (layers_.density() == 0)
        fail("the mask of {} keeps none of the weights that can be pruned", step.path);
      return;
    }
    // A resumed run does not read the files of steps that are done. Any density may follow.
    layers_.keep_all();
    estimated_ = true;
  }
  void apply(const Cycle& cycle, PlanStepCost& cost) {
    cost.epochs = cycle.trained_epochs();
    if (cycle.rule.empty())
      train(cost);
    else
      train_with_rule(cycle, find_mask_rule(cycle.rule), cost);
    const double steps = double(cost.epochs) * double(settings_.steps_per_epoch());
    density_sum_ += cost.mean_density * steps;
    steps_ += steps;
  }

  void finish(PlanStepCost& cost) const {
    cost.density = layers_.density();
    cost.kept = layers_.kept();
  }
  bool estimated() const { return estimated_; }
  double mean_density() const { return steps_ > 0 ? density_sum_ / steps_ : layers_.density(); }

 private:
  void train(PlanStepCost& cost) const {
    cost.flops =
        layers_.training_flops_per_image() * double(settings_.images) * double(cost.epochs);
    cost.mean_density = layers_.density();
    cost.mean_kept = layers_.kept();
  }

  /// Adds up the training steps of a cycle whose masks change.
  void train_with_rule(const Cycle& cycle, const MaskRule& rule, PlanStepCost& cost) {
    const int64_t per_epoch = settings_.steps_per_epoch();
    const int64_t steps = cycle.epochs * per_epoch, first = cycle.first_epoch * per_epoch;
    if (rule.changes_density) layers_.require_kept(cycle.density);
    // A density that an earlier step was to leave counts as left, although counts are whole.
    const bool reaches = rule.changes_density && layers_.reaches(cycle.density);
    const double start = reaches ? std::max(layers_.density(), cycle.density) : layers_.density();
    const DensityRange range{start, rule.changes_density ? cycle.density : start};
    if (rule.changes_density && !rule.starts_anywhere && !reaches)
      fail("density {} is above {:.6g}, the density before this step, and {} only lowers it",
           range.target, start, rule.name);
    require_reachable(rule, {.steps = steps, .first = first, .range = range}, settings_.masks);
    double density = start, flops = layers_.training_flops_per_image(), sum = 0;
    MeanCounts means;
    int64_t counted = first;  // steps up to this one are in `means`
    for (int64_t done = first + 1; done <= steps; ++done) {
      const SchedulePosition position{.done = done, .steps = steps, .first = first};
      const bool changes = rule.changes_after(position, settings_.masks);
      const double images = double(images_of((done - 1) % per_epoch));
      cost.flops += flops * images;
      sum += density;
      if (!changes) continue;
      if (rule.reads_gradients) cost.flops += layers_.full_gradient_flops_per_image() * images;
      if (!rule.changes_density) continue;
      means.add(layers_.kept(), done - counted);
      counted = done;
      layers_.change_to(rule.density_after(position, range, settings_.masks));
      estimated_ = true;
      density = layers_.density();
      flops = layers_.training_flops_per_image();
    }
    means.add(layers_.kept(), steps - counted);
    cost.mean_density = sum / double(steps - first);
    cost.mean_kept = means.mean();
  }

  /// Returns the number of images of a step of an epoch.
  int64_t images_of(int64_t step) const {
    return std::min(settings_.batch, settings_.images - step * settings_.batch);
  }

  Layers layers_;
  const CostSettings& settings_;
  bool estimated_ = false;
  double density_sum_ = 0, steps_ = 0;
};

}  // namespace

PlanCost plan_cost(const Plan& plan, const Network& network, const CostSettings& settings) {
  Walk walk(network, settings);
  PlanCost total;
  for (size_t i = 0; i < plan.size(); ++i) {
    PlanStepCost cost;
    try {
      std::visit([&](const auto& step) { walk.apply(step, cost); }, plan[i]);
    } catch (const Error& error) {
      fail("step {} of the plan, \"{}\": {}", i + 1, describe(plan[i]), error.what());
    }
    walk.finish(cost);
    total.epochs += cost.epochs;
    total.flops += cost.flops;
    total.steps.push_back(cost);
  }
  total.estimated = walk.estimated();
  total.mean_density = walk.mean_density();
  return total;
}

}  // namespace sculpt
