// Pruning on the backend that holds the weights gives the same masks as pruning on the CPU or in
// double.

#include <bit>
#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <string>

#include "engine/core/error.h"
#include "engine/optim/sgd.h"
#include "engine/sparse/prune.h"
#include "kernels/device/backend.h"
#include "tests/support/comparison.h"
#include "tests/support/scored_networks.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// Weights with many ties, both zeros, denormal numbers and infinities; momentum that must go.
void fill_with_specials(ParameterArena& arena) {
  const RandomStream random(8, Purpose::test);
  const float specials[] = {0.0f,
                            -0.0f,
                            std::numeric_limits<float>::denorm_min(),
                            -3 * std::numeric_limits<float>::denorm_min(),
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()};
  const auto weights = arena.edit_weights(), momentum = arena.edit_momentum();
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint32_t word = random.word(i);
    weights[i] = word % 5 == 0 ? specials[word / 8 % std::size(specials)]
                               : std::round(random.normal(i + 100000) * 8) / 8;
    momentum[i] = random.normal(i + 200000);
  }
}

/// Scales the weights so that the signal grows by about `scale` per layer. Biases and running means
/// have the size of the signal.
void scale_signal(ParameterArena& arena, float scale) {
  const RandomStream random(9, Purpose::test);
  uint64_t draw = 0;
  float signal = 1;  // behind the layer
  for (const Parameter& p : arena.parameters()) {
    const bool weight = p.kind == ParameterKind::conv_weight;
    if (weight && p.name != "shortcut.weight") signal *= scale;
    for (float& w : ParameterArena::slice(arena.edit_weights(), p)) {
      if (weight) w *= scale;
      if (p.kind == ParameterKind::norm_bias) w = signal * random.normal(draw++);
    }
    if (p.kind != ParameterKind::norm_bias) continue;
    const std::string mean = p.name.substr(0, p.name.find('.')) + ".running_mean";
    for (const StateArray& s : arena.states())
      for (int64_t i = 0; s.name == mean && i < s.count; ++i)
        arena.edit_state_values()[static_cast<size_t>(s.offset + i)] =
            signal * random.normal(draw++);
  }
}

PruneReport prune_by_synflow(Network& network, double density) {
  RandomBatches batches(network.spec(), 6, 1);
  ScoreContext context = context_for(network, batches, 1);
  context.options.synflow_iterations = 10;
  return prune(context, {"synflow", "global", density});
}

}  // namespace

TEST_CASE(
    "prune across backends: scores of weights and random scores give the CPU's masks, bit for "
    "bit") {
  const kernels::Backend& backend = *test::tested_backends().front();
  for (const char* criterion : {"magnitude", "random"})
    for (const Allocation& allocation : allocations()) {
      CAPTURE(criterion);
      CAPTURE(allocation.name);
      Network network(four_layer_spec(), backend, 4);
      network.initialise(2);
      fill_with_specials(network.parameters());
      const auto on_cpu = network.rebuild(kernels::cpu_backend(), 4);
      for (const double density : {0.83, 0.4, 0.07}) {  // on what is left each time
        CAPTURE(density);
        const PruneStep step{criterion, std::string(allocation.name), density};
        PruneReport reports[2];
        for (Network* each : {&network, on_cpu.get()}) {
          RandomBatches batches(each->spec(), 6, 2);
          reports[each == &network] = prune(context_for(*each, batches, 2), step);
        }
        ParameterArena &a = network.parameters(), &b = on_cpu->parameters();
        CHECK(same_bytes(a.masks(), b.masks()));
        CHECK(same_bytes(a.weights(), b.weights()));
        CHECK(same_bytes(a.momentum(), b.momentum()));
        CHECK(reports[0].kept == kept_for_density(density, reports[0].prunable));
        CHECK(reports[0].warnings == reports[1].warnings);
        for (size_t l = 0; l < reports[0].layers.size(); ++l)
          CHECK(reports[0].layers[l].kept == reports[1].layers[l].kept);
      }
    }
}

TEST_CASE(
    "prune across backends: what a network computes after a prune is what its pruned weights "
    "compute") {
  const kernels::Backend& backend = *test::tested_backends().front();
  Network network(four_layer_spec(), backend, 6);
  network.initialise(3);
  RandomBatches batches(network.spec(), 6, 3);
  const ScoreContext context = context_for(network, batches, 3);
  network.load(batches(0), batches.normalization);
  network.forward(Mode::eval);
  const auto before = network.logits();
  for (const char* criterion : {"magnitude", "snip", "grasp"}) {
    CAPTURE(criterion);
    prune(context, {criterion, "uniform", criterion[0] == 'm' ? 0.6 : 0.3});
    const auto fresh = network.rebuild(backend, 6);
    std::vector<float> logits[2];
    for (Network* each : {&network, fresh.get()}) {
      each->load(batches(0), batches.normalization);
      each->forward(Mode::eval);
      logits[each == &network] = each->logits();
    }
    CHECK(logits[0] == logits[1]);
    CHECK(logits[0] != before);
    if (criterion[0] == 's') network.initialise(3);
  }
}

TEST_CASE(
    "prune across backends: synflow's mask is that of double where a float alone would overflow") {
  const kernels::Backend& backend = *test::tested_backends().front();
  for (const float scale : {1.0f, 0x1p44f, 0x1p-44f}) {
    CAPTURE(scale);
    Network network(four_layer_spec(), backend, 4);
    network.initialise(4);
    scale_signal(network.parameters(), scale);
    const auto in_double = network.rebuild(kernels::reference_backend(), 1);
    const PruneReport report = prune_by_synflow(network, 0.2);
    CHECK(report.note == "");
    prune_by_synflow(*in_double, 0.2);
    CHECK(same_bytes(network.parameters().masks(), in_double->parameters().masks()));
  }
}

TEST_CASE(
    "prune across backends: synflow beyond the range of float is computed in double, and says so") {
  const kernels::Backend& backend = *test::tested_backends().front();
  // Eight layers of 2^40 and more each.
  Network network(mlp_spec({5, 6, 7, 6, 5, 6, 7, 6, 3}), backend, 4);
  network.initialise(5);
  for (float& w : network.parameters().edit_weights())
    w *= 0x1p40f;
  const auto in_double = network.rebuild(kernels::reference_backend(), 1);
  const PruneReport report = prune_by_synflow(network, 0.5);
  CHECK((report.note != "") == (backend.full_precision != nullptr));
  prune_by_synflow(*in_double, 0.5);
  CHECK(same_bytes(network.parameters().masks(), in_double->parameters().masks()));
}
