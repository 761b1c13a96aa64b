#include "engine/sparse/prune.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <numeric>
#include <string>

#include "engine/core/error.h"
#include "engine/optim/sgd.h"
#include "kernels/device/backend.h"
#include "tests/support/comparison.h"
#include "tests/support/scored_networks.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// Draws random numbers one after another, for the sizes of random networks.
class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed, Purpose::test, 1234) {}
  /// Returns a whole number in [low, high].
  int64_t between(int64_t low, int64_t high) {
    return low +
           static_cast<int64_t>(random_.below(next_++, static_cast<uint64_t>(high - low + 1)));
  }
  double uniform() { return random_.uniform(next_++); }

 private:
  RandomStream random_;
  uint64_t next_ = 0;
};

/// A random stack of convolutions (some strided, some without batch norm) and a classifier; the
/// first convolution and the classifier may be exempt from pruning.
NetworkSpec random_spec(Draws& draws) {
  NetworkSpec spec;
  spec.image = {
      .channels = draws.between(1, 3), .height = draws.between(3, 6), .width = draws.between(3, 6)};
  spec.classes = draws.between(2, 5);
  spec.prune_first_conv = draws.between(0, 3) > 0;
  spec.prune_classifier = draws.between(0, 3) > 0;
  struct Layer {
    int64_t channels, kernel, stride;
    bool norm;
  };
  std::vector<Layer> layers;
  for (int64_t l = draws.between(2, 4); l > 0; --l)
    layers.push_back({draws.between(1, 9), draws.between(0, 1) * 2 + 1, draws.between(1, 2),
                      draws.between(0, 1) == 1});
  const int64_t classes = spec.classes;
  spec.model = [layers, classes](Builder& b, Value x) {
    for (size_t l = 0; l < layers.size(); ++l) {
      const std::string number = std::to_string(l);
      x = b.conv("conv" + number, x, layers[l].channels,
                 {.kernel = layers[l].kernel, .stride = layers[l].stride});
      x = layers[l].norm ? b.batch_norm("bn" + number, x, {.relu = true}) : b.relu(x);
    }
    return b.linear("fc", b.flatten(b.global_average_pool(x)), classes);
  };
  return spec;
}

/// Prunable weights that are masked and not exactly +0, in weight or momentum; masks of other
/// parameters that are not 1; masks that are neither 0 nor 1.
int64_t wrong_elements(ParameterArena& arena) {
  arena.store_dense();
  int64_t wrong = 0;
  for (const Parameter& p : arena.parameters())
    for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i) {
      const uint8_t mask = arena.masks()[i];
      if (mask > 1 || (!p.prunable && mask != 1)) ++wrong;
      if (!mask && !(is_plus_zero(arena.weights()[i]) && is_plus_zero(arena.momentum()[i])))
        ++wrong;
    }
  return wrong;
}

/// Computes by sorting what KeptWeights::narrow must keep.
std::vector<uint8_t> naive_select(const std::vector<float>& scores,
                                  const std::vector<uint8_t>& candidates, size_t first,
                                  size_t count, int64_t kept) {
  std::vector<size_t> order;
  for (size_t i = first; i < first + count; ++i)
    if (candidates[i]) order.push_back(i);
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return scores[i]; });
  std::vector<uint8_t> keep(scores.size(), 0);
  for (size_t k = 0; k < static_cast<size_t>(kept); ++k)
    keep[order[k]] = 1;
  return keep;
}

void train_a_little(Network& network, RandomBatches& batches, Sgd& sgd, int64_t& step) {
  for (int i = 0; i < 2; ++i, ++step) {
    network.load(batches(step), batches.normalization);
    network.forward(Mode::train, static_cast<uint64_t>(step));
    network.backward();
    sgd.step(0.05);
  }
}

}  // namespace

TEST_CASE("prune: random networks: exact counts, no resurrection, exact zeros through training") {
  const OneThread one_thread;
  // The host layer runs each thread of a device as a fiber, which is slow, so the test uses fewer
  // networks there.
  const bool on_device = test::tested_backends().front()->memory != nullptr;
  for (uint64_t seed = 0; seed < (on_device ? 8 : 25); ++seed) {
    CAPTURE(seed);
    Draws draws(seed);
    const NetworkSpec spec = random_spec(draws);
    Network network(spec, *test::tested_backends().front(), 5);
    network.initialise(seed);
    ParameterArena& arena = network.parameters();
    const int64_t total = arena.prunable_count();
    RandomBatches batches(spec, 5, seed);
    ScoreContext context = context_for(network, batches, seed);
    context.options.synflow_iterations = 4;
    OptimOptions options;
    options.weight_decay = 0.01;
    options.nesterov = draws.between(0, 1) == 1;
    options.decay_norm_and_bias = draws.between(0, 1) == 1;
    options.clip_norm = draws.between(0, 1) == 1 ? 1.0 : 0.0;
    Sgd sgd(arena, options);

    int64_t step = 0;
    double density = 1;
    while (true) {
      density *= 0.3 + 0.7 * draws.uniform();
      const int64_t kept = kept_for_density(density, total);
      if (kept < 8) break;
      const auto& drawn =
          criteria()[static_cast<size_t>(draws.between(0, std::ssize(criteria()) - 1))];
      // GraSP refuses a network through which no gradient flows any more.
      const bool dead =
          std::ranges::all_of(mean_gradient(context), [](double g) { return g == 0; });
      const Criterion& criterion = dead ? find_criterion("magnitude") : drawn;
      const auto& allocation =
          allocations()[static_cast<size_t>(draws.between(0, std::ssize(allocations()) - 1))];
      CAPTURE(criterion.name);
      CAPTURE(allocation.name);
      CAPTURE(density);
      const auto before = prunable_mask(arena);
      const PruneReport report =
          prune(context, {std::string(criterion.name), std::string(allocation.name), density});

      CHECK(arena.kept_count() == kept);
      CHECK(report.kept == kept);
      CHECK(report.prunable == total);
      int64_t sum = 0, empty = 0;
      for (const auto& layer : report.layers) {
        sum += layer.kept;
        empty += layer.kept == 0;
      }
      CHECK(sum == kept);
      CHECK(std::ssize(report.warnings) == empty);
      const auto after = prunable_mask(arena);
      int64_t resurrected = 0;
      for (size_t i = 0; i < after.size(); ++i)
        resurrected += after[i] > before[i];
      CHECK(resurrected == 0);
      CHECK(wrong_elements(arena) == 0);
      train_a_little(network, batches, sgd, step);
      CHECK(wrong_elements(arena) == 0);
      CHECK(arena.kept_count() == kept);
      if (network.forward(Mode::train).loss > 1e6) break;  // an empty layer can let it run away
    }
  }
}

namespace {

/// An arena of `layers` random linear layers with biases between them, some of whose weights are
/// masked already.
void fill_random_arena(ParameterArena& arena, Draws& draws, const kernels::Backend& backend) {
  for (int64_t l = draws.between(1, 5); l > 0; --l) {
    const std::string name = "layer" + std::to_string(l);
    const int64_t rows = draws.between(1, 30);
    arena.add(name + ".weight", ParameterKind::linear_weight, {rows, draws.between(1, 20)});
    arena.add(name + ".bias", ParameterKind::bias, {rows});
  }
  arena.allocate(backend);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      if (p.prunable)
        for (uint8_t& m : ParameterArena::slice(masks, p))
          m = draws.between(0, 3) > 0;
  });
}

/// Coarse scores, among them both zeros, infinities and a denormal number.
std::vector<float> coarse_scores(size_t n, Draws& draws) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float specials[] = {kInfinity, -kInfinity, -0.0f, 0.0f,
                            std::numeric_limits<float>::denorm_min()};
  const int64_t levels = draws.between(1, 6);  // 1: all scores equal
  std::vector<float> scores(n);
  for (float& score : scores) {
    const int64_t draw = draws.between(-4, levels);
    score = draw < 0 ? specials[draw + 4] : 0.25f * static_cast<float>(draw - 2);
  }
  return scores;
}

template <class T>
Scores as_scores(const std::vector<float>& scores, const kernels::Backend& backend) {
  Buffer values(scores.size() * sizeof(T), "a test's scores");
  std::ranges::copy(scores, values.as<T>());
  return {moved(std::move(values), kernels::reference_backend(), backend), sizeof(T)};
}

}  // namespace

TEST_CASE("prune: selection equals sorting, with many ties, globally and per layer") {
  const kernels::Backend& backend = *test::tested_backends().front();
  for (uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Draws draws(seed);
    ParameterArena arena;
    fill_random_arena(arena, draws, backend);
    const std::vector<uint8_t> candidates = prunable_mask(arena);
    const size_t n = candidates.size();
    const std::vector<float> scores = coarse_scores(n, draws);
    const int64_t present = std::accumulate(candidates.begin(), candidates.end(), int64_t{0});
    const int64_t kept = draws.between(0, present);

    for (const Allocation& allocation : allocations()) {
      CAPTURE(allocation.name);
      KeptWeights narrow(arena), wide(arena);
      REQUIRE(narrow.kept() == present);
      std::vector<uint8_t> expected(n, 0);
      if (allocation.share == nullptr) {
        expected = naive_select(scores, candidates, 0, n, kept);
      } else {
        const auto counts = allocate(allocation, narrow.layers(), kept);
        size_t first = 0;
        for (size_t l = 0; l < counts.size(); ++l) {
          const auto count = static_cast<size_t>(narrow.layers()[l].count);
          const auto part = naive_select(scores, candidates, first, count, counts[l]);
          for (size_t i = 0; i < n; ++i)
            expected[i] |= part[i];
          first += count;
        }
      }
      for (KeptWeights* selection : {&narrow, &wide}) {
        arena.edit_masks([](std::span<uint8_t> masks) { std::ranges::fill(masks, uint8_t{1}); });
        selection->narrow(selection == &narrow ? as_scores<float>(scores, backend)
                                               : as_scores<double>(scores, backend),
                          allocation, kept);
        CHECK(selection->kept() == kept);
        selection->apply();
        CHECK(prunable_mask(arena) == expected);
        CHECK(wrong_elements(arena) == 0);
      }
      arena.edit_masks([&](std::span<uint8_t> masks) {
        size_t i = 0;  // for the next allocation
        for (const Parameter& p : arena.parameters())
          if (p.prunable)
            for (uint8_t& m : ParameterArena::slice(masks, p))
              m = candidates[i++];
      });
    }
  }
}

TEST_CASE("prune: magnitude keeps the largest weights of the network; ties go to the lower index") {
  Network network(four_layer_spec(), *test::tested_backends().front(), 4);
  network.initialise(3);
  ParameterArena& arena = network.parameters();
  // Coarse values: about 40 weights share each magnitude.
  for (float& w : arena.edit_weights())
    w = std::round(w * 20) / 20;
  std::vector<float> magnitudes;
  for (const Parameter& p : arena.parameters())
    if (p.prunable)
      for (const float w : ParameterArena::slice(arena.weights(), p))
        magnitudes.push_back(std::abs(w));
  const std::vector<uint8_t> all(magnitudes.size(), 1);
  const auto expected =
      naive_select(magnitudes, all, 0, all.size(), kept_for_density(0.37, std::ssize(all)));
  RandomBatches batches(network.spec(), 6, 3);
  prune(context_for(network, batches, 3), {"magnitude", "global", 0.37});
  CHECK(prunable_mask(arena) == expected);
}

TEST_CASE("prune: a NaN score is an error that names layer and element, and changes nothing") {
  Network network(four_layer_spec(), *test::tested_backends().front(), 4);
  network.initialise(4);
  ParameterArena& arena = network.parameters();
  RandomBatches batches(network.spec(), 6, 4);
  const Parameter* conv2 = nullptr;
  for (const Parameter& p : arena.parameters())
    if (p.name == "conv2.weight") conv2 = &p;
  REQUIRE(conv2);
  arena.edit_weights()[static_cast<size_t>(conv2->offset) + 17] =
      std::numeric_limits<float>::quiet_NaN();
  for (const char* allocation : {"global", "erk"})
    CHECK_THROWS_WITH_AS(prune(context_for(network, batches, 4), {"magnitude", allocation, 0.5}),
                         doctest::Contains("element 17 of 'conv2.weight' is not a number"), Error);
  CHECK(arena.kept_count() == arena.prunable_count());
}

TEST_CASE("prune: steps that cannot be done are refused before anything changes") {
  Network network(four_layer_spec(), *test::tested_backends().front(), 4);
  network.initialise(5);
  RandomBatches batches(network.spec(), 6, 5);
  const ScoreContext context = context_for(network, batches, 5);
  prune(context, {"magnitude", "global", 0.5});
  const int64_t kept = network.parameters().kept_count();
  CHECK_THROWS_WITH_AS(prune(context, {"magnitude", "global", 0.6}),
                       doctest::Contains("choose a density of at most"), Error);
  CHECK_THROWS_AS(prune(context, {"magnitude", "global", 0.0}), Error);
  CHECK_THROWS_WITH_AS(prune(context, {"magnitude", "global", 1e-9}),
                       doctest::Contains("keeps none"), Error);
  CHECK_THROWS_AS(prune(context, {"magnitud", "global", 0.1}), Error);
  CHECK_THROWS_AS(prune(context, {"magnitude", "globally", 0.1}), Error);
  CHECK(network.parameters().kept_count() == kept);
}

TEST_CASE("prune: a layer without weights is reported by name") {
  Network network(four_layer_spec(), *test::tested_backends().front(), 4);
  network.initialise(6);
  RandomBatches batches(network.spec(), 6, 6);
  for (const Parameter& p : network.parameters().parameters())
    if (p.name == "shortcut.weight")
      for (float& w : ParameterArena::slice(network.parameters().edit_weights(), p))
        w *= 1e-3f;
  const ScoreContext context = context_for(network, batches, 6);
  const PruneReport report = prune(context, {"magnitude", "global", 0.5});
  REQUIRE(report.warnings.size() == 1);
  CHECK(report.warnings[0].find("'shortcut.weight'") != std::string::npos);
  network.initialise(6);
  CHECK(prune(context, {"magnitude", "balanced", 0.5}).warnings.empty());
}
