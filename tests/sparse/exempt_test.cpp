// Layers that NetworkSpec::exempt names stay dense under every criterion and allocation, and no
// other layer does. Weights are counted here, from the masks alone.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>

#include "engine/core/error.h"
#include "engine/sparse/allocation.h"
#include "engine/sparse/prune.h"
#include "tests/support/scored_networks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

using Names = std::vector<std::string>;

NetworkSpec spec_with(Names exempt) {
  NetworkSpec spec = four_layer_spec();
  spec.exempt = std::move(exempt);
  return spec;
}

/// The number of weights that are kept, by the name of the parameter.
std::map<std::string, int64_t> kept_of(const ParameterArena& arena) {
  std::map<std::string, int64_t> kept;
  for (const Parameter& p : arena.parameters())
    for (int64_t i = p.offset; i < p.offset + p.count; ++i)
      kept[p.name] += arena.masks()[static_cast<size_t>(i)] != 0;
  return kept;
}

Names prunable_of(const ParameterArena& arena) {
  Names names;
  for (const Parameter& p : arena.parameters())
    if (p.prunable) names.push_back(p.name);
  return names;
}

}  // namespace

TEST_CASE("exempt: names and patterns choose layers") {
  const auto prunable = [](Names exempt) {
    Network network(spec_with(std::move(exempt)), kernels::cpu_backend(), 4);
    return prunable_of(network.parameters());
  };
  const Names all = {"conv1.weight", "shortcut.weight", "conv2.weight", "fc.weight"};
  CHECK(prunable({}) == all);
  CHECK(prunable({"conv1"}) == Names{"shortcut.weight", "conv2.weight", "fc.weight"});
  CHECK(prunable({"conv1.weight"}) == Names{"shortcut.weight", "conv2.weight", "fc.weight"});
  CHECK(prunable({"conv*"}) == Names{"shortcut.weight", "fc.weight"});
  CHECK(prunable({"conv2", "fc"}) == Names{"conv1.weight", "shortcut.weight"});
  CHECK(prunable({"*"}).empty());
  NetworkSpec spec = spec_with({"conv1", "fc"});  // exempt twice
  spec.prune_first_conv = false;
  Network network(std::move(spec), kernels::cpu_backend(), 4);
  CHECK(prunable_of(network.parameters()) == Names{"shortcut.weight", "conv2.weight"});
  CHECK(prunable_of(network.rebuild(kernels::cpu_backend(), 2)->parameters()) ==
        Names{"shortcut.weight", "conv2.weight"});
}

TEST_CASE("exempt: what fits no layer is refused with the nearest one") {
  const auto message = [](const char* pattern) {
    return error_of([&] { Network(spec_with({"fc", pattern}), kernels::cpu_backend(), 4); });
  };
  CHECK(contains(message("conv3"), "prune.exempt: no layer"));
  CHECK(contains(message("shortcat"), "'shortcat', did you mean \"shortcut\"?"));
  CHECK(contains(message("shortcat.weight"), "did you mean \"shortcut\"?"));
  CHECK(contains(message("layer*"), "--describe"));
  // Biases and batch norm are not pruned, and cannot be exempted.
  CHECK(contains(message("bn1"), "no layer"));
  CHECK(contains(message("fc.bias"), "no layer"));
  CHECK(contains(message(""), "no layer"));
}

TEST_CASE(
    "exempt: layers stay dense under every criterion and allocation, and the counts are exact") {
  const OneThread one;
  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(backend->name);
    for (const std::string& criterion : criterion_names())
      for (const std::string& allocation : allocation_names()) {
        CAPTURE(criterion);
        CAPTURE(allocation);
        Network network(spec_with({"conv1", "f*"}), *backend, 8);
        network.initialise(3);
        ParameterArena& arena = network.parameters();
        RandomBatches batches(network.spec(), 6, 11);
        const ScoreContext context = context_for(network, batches, 5);
        int64_t prunable = 0;
        for (const char* name : {"shortcut.weight", "conv2.weight"})
          for (const Parameter& p : arena.parameters())
            if (p.name == name) prunable += p.count;
        REQUIRE(prunable == 5 * 5 + 5 * 5 * 9);
        for (const double density : {0.5, 0.2}) {  // twice, as iterative methods do
          const PruneReport report = prune(context, PruneStep{criterion, allocation, density});
          auto kept = kept_of(arena);
          const auto expected = std::llround(density * static_cast<double>(prunable));
          CHECK(kept["shortcut.weight"] + kept["conv2.weight"] == expected);
          CHECK(report.kept == expected);
          CHECK(report.prunable == prunable);
          CHECK(report.layers.size() == 2);
          for (const Parameter& p : arena.parameters())
            if (p.name != "shortcut.weight" && p.name != "conv2.weight")
              CHECK(kept[p.name] == p.count);
        }
        arena.store_dense();
        arena.zero_masked();
        for (const Parameter& p : arena.parameters()) {
          if (p.name != "conv1.weight" && p.name != "fc.weight") continue;
          const auto weights = ParameterArena::slice(arena.weights(), p);
          CHECK(std::ranges::count(weights, 0.0f) == 0);
        }
      }
  }
}

TEST_CASE("exempt: a plan for a network with every layer exempt is refused") {
  CHECK(contains(error_of([] { count_to_keep(0.5, 0, 0); }), "take layers out of prune.exempt"));
}
