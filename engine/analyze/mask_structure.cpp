#include "engine/analyze/mask_structure.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace sculpt {

namespace {

/// Says how the weights of a layer are numbered. Weight i belongs to the kernel i / kernel_elements
/// of the filter i / filter_elements.
struct Numbering {
  int64_t filters = 0;
  int64_t inputs_per_group = 0;
  int64_t kernel_elements = 1;
  int64_t groups = 1;

  int64_t inputs() const { return inputs_per_group * groups; }
  /// Returns the input channel that a kernel reads.
  int64_t input_of(int64_t kernel) const {
    const int64_t filter = kernel / inputs_per_group;
    return filter / (filters / groups) * inputs_per_group + kernel % inputs_per_group;
  }
};

/// Returns the number of groups of the convolution that uses the weight; 1 for a linear layer.
int64_t groups_of(const Network& network, const Parameter& parameter) {
  if (parameter.shape.size() != 4) return 1;
  for (const auto& node : network.graph().nodes())
    if (node->info.weight >= 0 &&
        network.parameters()[node->info.weight].offset == parameter.offset)
      return network.graph().shape(node->inputs[0]).channels / parameter.shape[1];
  return 1;
}

Numbering numbering_of(const Network& network, const Parameter& parameter) {
  SCULPT_CHECK(parameter.shape.size() >= 2, "'{}' is no matrix and no convolution's weight",
               parameter.name);
  Numbering numbering;
  numbering.filters = parameter.shape[0];
  numbering.inputs_per_group = parameter.shape[1];
  for (size_t i = 2; i < parameter.shape.size(); ++i)
    numbering.kernel_elements *= parameter.shape[i];
  numbering.groups = groups_of(network, parameter);
  return numbering;
}

/// Describes groups of equally many weights, of which `kept` are kept in each group.
GroupDensities densities_of(const std::vector<int64_t>& kept, const LayerStructure& layer) {
  GroupDensities result;
  const auto groups = static_cast<double>(kept.size());
  const int64_t size = layer.count / std::ssize(kept);
  const auto count = static_cast<double>(layer.count), n = static_cast<double>(size);
  const double mean = layer.density();
  double squares = 0;
  for (const int64_t k : kept) {
    const double density = static_cast<double>(k) / n;
    result.sorted.push_back(density);
    squares += (density - mean) * (density - mean);
    result.dead += k == 0;
  }
  std::ranges::sort(result.sorted);
  result.deviation = std::sqrt(squares / groups);
  if (size < layer.count)
    result.random_deviation = std::sqrt(mean * (1 - mean) / n * (count - n) / (count - 1));
  result.random_dead = groups * chance_of_no_weight(layer.count, layer.kept, size);
  return result;
}

LayerStructure structure_of(const Parameter& parameter, const Numbering& numbering,
                            std::span<const uint8_t> mask) {
  LayerStructure layer;
  layer.name = parameter.name;
  layer.count = parameter.count;
  layer.kernels = numbering.filters * numbering.inputs_per_group;
  std::vector<int64_t> filters(static_cast<size_t>(numbering.filters)),
      inputs(static_cast<size_t>(numbering.inputs()));
  for (int64_t kernel = 0; kernel < layer.kernels; ++kernel) {
    const auto weights = mask.subspan(static_cast<size_t>(kernel * numbering.kernel_elements),
                                      static_cast<size_t>(numbering.kernel_elements));
    const auto kept = static_cast<int64_t>(
        std::ranges::count_if(weights, [](uint8_t keep) { return keep != 0; }));
    layer.kept += kept;
    layer.empty_kernels += kept == 0;
    filters[static_cast<size_t>(kernel / numbering.inputs_per_group)] += kept;
    inputs[static_cast<size_t>(numbering.input_of(kernel))] += kept;
  }
  layer.random_empty_kernels =
      static_cast<double>(layer.kernels) *
      chance_of_no_weight(layer.count, layer.kept, numbering.kernel_elements);
  layer.filters = densities_of(filters, layer);
  layer.inputs = densities_of(inputs, layer);
  return layer;
}

}  // namespace

double GroupDensities::quantile(double share) const {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return (1 - part) * sorted[below] + part * sorted[above];
}

double GroupDensities::spread() const {
  return random_deviation > 0 ? deviation / random_deviation : NAN;
}

double chance_of_no_weight(int64_t count, int64_t kept, int64_t size) {
  // The chance that the first, second, ... weight of the group is masked, if all before it are.
  double chance = 1;
  for (int64_t i = 0; i < size && chance > 0; ++i)
    chance *= std::max(0.0, static_cast<double>(count - kept - i) / static_cast<double>(count - i));
  return chance;
}

std::vector<LayerStructure> mask_structure(const Network& network, std::span<const uint8_t> masks) {
  const ParameterArena& parameters = network.parameters();
  if (std::ssize(masks) != parameters.count())
    fail("a mask of {} weights does not fit a network of {}", masks.size(), parameters.count());
  std::vector<LayerStructure> layers;
  for (const Parameter& parameter : parameters.parameters())
    if (parameter.prunable)
      layers.push_back(structure_of(parameter, numbering_of(network, parameter),
                                    masks.subspan(static_cast<size_t>(parameter.offset),
                                                  static_cast<size_t>(parameter.count))));
  return layers;
}

}  // namespace sculpt
