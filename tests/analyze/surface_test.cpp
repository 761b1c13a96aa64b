// Loss surfaces, compared with networks that are moved and evaluated one by one.

#include "engine/analyze/surface.h"

#include <cmath>
#include <doctest/doctest.h>

#include "tests/analyze/measured_network.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// The norm of the weights, or of the direction, of one output channel.
double filter_norm(const Parameter& p, int64_t filter, const auto& values) {
  const int64_t length = p.count / p.shape[0];
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) {
    const double x = values[static_cast<size_t>(p.offset + filter * length + i)];
    sum += x * x;
  }
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("surface: directions are masked and have the norm of the weights in each filter") {
  MeasuredNetwork measured(*test::tested_backends().front());
  const ParameterArena& arena = measured.network.parameters();
  const StoredNetwork values = measured.random_values(31, 0.5);
  const auto first = filter_normalised_direction(arena, values, 9, 0);
  const auto second = filter_normalised_direction(arena, values, 9, 1);
  CHECK(first != second);
  CHECK(first == filter_normalised_direction(arena, values, 9, 0));
  CHECK(first != filter_normalised_direction(arena, values, 10, 0));
  for (const Parameter& p : arena.parameters()) {
    CAPTURE(p.name);
    const bool layer = p.shape.size() > 1;
    for (int64_t i = p.offset; i < p.offset + p.count; ++i) {
      const auto at = static_cast<size_t>(i);
      if (!layer || values.masks[at] == 0) REQUIRE(first[at] == 0);
    }
    for (int64_t filter = 0; layer && filter < p.shape[0]; ++filter)
      CHECK(filter_norm(p, filter, first) ==
            doctest::Approx(filter_norm(p, filter, values.weights)));
  }

  // Another network of the same shapes and masks gets the same random numbers: within a filter, the
  // two directions are multiples of each other.
  StoredNetwork other = measured.random_values(32, 0.5);
  other.masks = values.masks;
  const auto of_other = filter_normalised_direction(arena, other, 9, 0);
  const Parameter& p = arena.parameters()[0];
  const double ratio = filter_norm(p, 0, of_other) / filter_norm(p, 0, first);
  for (int64_t i = 0; i < p.count / p.shape[0]; ++i)
    CHECK(of_other[static_cast<size_t>(p.offset + i)] ==
          doctest::Approx(ratio * first[static_cast<size_t>(p.offset + i)]));
}

TEST_CASE("surface: every point is the loss of the moved network, the middle that of the network") {
  MeasuredNetwork measured(kernels::reference_backend());
  const StoredNetwork values = measured.random_values(33, 0.6);
  const AnalysisImages images = measured.images(13);
  const Surface surface =
      measure_surface(measured.network, values, images, {.points = 5, .extent = 0.5, .seed = 4});
  const std::vector<double> steps = {-0.5, -0.25, 0, 0.25, 0.5};
  REQUIRE(surface.loss.size() == 25);
  const ParameterArena& arena = measured.network.parameters();
  const auto first = filter_normalised_direction(arena, values, 4, 0);
  const auto second = filter_normalised_direction(arena, values, 4, 1);
  for (size_t y = 0; y < 5; ++y)
    for (size_t x = 0; x < 5; ++x) {
      CHECK(surface.steps[x] == doctest::Approx(steps[x]));
      set_values(measured.network, values);
      const auto weights = measured.network.parameters().edit_weights<double>();
      for (size_t i = 0; i < weights.size(); ++i)
        weights[i] += steps[x] * first[i] + steps[y] * second[i];
      const Evaluation expected = evaluate_train(measured.network, images);
      CHECK(surface.loss[y * 5 + x] == doctest::Approx(expected.loss).epsilon(1e-5));
      CHECK(surface.accuracy[y * 5 + x] == doctest::Approx(expected.accuracy));
    }
  set_values(measured.network, values);
  CHECK(surface.loss[12] == doctest::Approx(evaluate_train(measured.network, images).loss));
}
