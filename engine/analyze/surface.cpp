#include "engine/analyze/surface.h"

#include <cmath>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/core/random.h"
#include "engine/plan/verbs/values.h"

namespace sculpt {

std::vector<double> filter_normalised_direction(const ParameterArena& parameters,
                                                const StoredNetwork& values, uint64_t seed,
                                                int64_t number) {
  const RandomStream random(seed, Purpose::surface_direction, static_cast<uint64_t>(number));
  std::vector<double> direction(static_cast<size_t>(parameters.count()));
  for (const Parameter& p : parameters.parameters()) {
    if (!is_layer_weight(p)) continue;
    const int64_t filters = p.shape.front();
    const auto length = static_cast<size_t>(p.count / filters);
    for (int64_t filter = 0; filter < filters; ++filter) {
      const size_t begin = static_cast<size_t>(p.offset) + static_cast<size_t>(filter) * length;
      double of_weights = 0, of_direction = 0;
      for (size_t i = begin; i < begin + length; ++i) {
        if (values.masks[i] == 0) continue;
        direction[i] = double{random.normal(i)};
        of_direction += direction[i] * direction[i];
        of_weights += double{values.weights[i]} * double{values.weights[i]};
      }
      const double factor = of_direction > 0 ? std::sqrt(of_weights / of_direction) : 0;
      for (size_t i = begin; i < begin + length; ++i)
        direction[i] *= factor;
    }
  }
  return direction;
}

Surface measure_surface(Network& network, const StoredNetwork& values, const AnalysisImages& images,
                        const SurfaceOptions& options) {
  SCULPT_CHECK(options.points >= 2, "a surface of {} points per side", options.points);
  const ParameterArena& parameters = network.parameters();
  const std::vector<double> first =
      filter_normalised_direction(parameters, values, options.seed, 0);
  const std::vector<double> second =
      filter_normalised_direction(parameters, values, options.seed, 1);
  Surface surface;
  for (int64_t i = 0; i < options.points; ++i)
    surface.steps.push_back(
        options.extent *
        (2 * static_cast<double>(i) / static_cast<double>(options.points - 1) - 1));
  Phase phase("points of the loss surface", options.points * options.points);
  StoredNetwork moved = values;
  for (const double y : surface.steps)
    for (const double x : surface.steps) {
      for (size_t i = 0; i < moved.weights.size(); ++i)
        moved.weights[i] =
            static_cast<float>(double{values.weights[i]} + x * first[i] + y * second[i]);
      set_values(network, moved);
      const Evaluation evaluation = evaluate_train(network, images);
      surface.loss.push_back(evaluation.loss);
      surface.accuracy.push_back(evaluation.accuracy);
      phase.advance();
    }
  return surface;
}

}  // namespace sculpt
