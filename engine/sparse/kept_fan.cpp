#include "engine/sparse/kept_fan.h"

#include <cmath>
#include <numeric>

namespace sculpt {

namespace {

int64_t count_kept(std::span<const uint8_t> mask) {
  return std::accumulate(mask.begin(), mask.end(), int64_t{0});
}

template <class T>
void rescale(ParameterArena& arena, const KeptPattern& before) {
  const std::span<T> weights = arena.edit_weights<T>();
  for (const Parameter& p : arena.parameters()) {
    if (!p.prunable) continue;
    const int64_t fan = p.count / p.shape.front();
    for (int64_t neuron = 0; neuron < p.shape.front(); ++neuron) {
      const auto of_neuron = [&](auto array) {
        return array.subspan(static_cast<size_t>(p.offset + neuron * fan),
                             static_cast<size_t>(fan));
      };
      const int64_t old = count_kept(of_neuron(before.bytes()));
      const int64_t now = count_kept(of_neuron(arena.masks()));
      if (now == 0 || now == old) continue;
      const double factor = std::sqrt(static_cast<double>(old) / static_cast<double>(now));
      for (T& weight : of_neuron(weights))
        weight = static_cast<T>(static_cast<double>(weight) * factor);
    }
  }
  arena.zero_masked();
}

}  // namespace

void rescale_to_kept_fan(ParameterArena& parameters, const KeptPattern& before) {
  parameters.store_dense();
  if (parameters.element_bytes() == sizeof(double))
    rescale<double>(parameters, before);
  else
    rescale<float>(parameters, before);
}

}  // namespace sculpt
