// The cost of a plan before the run is compared with the formula summed by hand and with a real
// prune.

#include "engine/plan/plan_cost.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "engine/nn/cost.h"
#include "tests/support/messages.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("plan cost: the formula, by hand") {
  Network network(tiny_spec(), kernels::cpu_backend(), 8);
  // conv1: 5x2x3x3 on 5x6 outputs, reads the images; conv2: 7x5x3x3 on 3x3; fc: 3x7.
  const double conv1 = 90.0 * 30, conv2 = 315.0 * 9, fc = 21;
  const double dense = 2 * (2 * conv1 + 3 * conv2 + 3 * fc);
  const PlanCost one = plan_cost({Cycle{3}}, network, {.images = 100});
  CHECK(one.epochs == 3);
  CHECK(one.flops == doctest::Approx(300 * dense).epsilon(1e-12));
  CHECK_FALSE(one.estimated);
  CHECK(one.flops == doctest::Approx(300 * training_flops_per_image(network)).epsilon(1e-12));

  // A schedule entered late trains the rest of it.
  CHECK(plan_cost({Cycle{10, 4}}, network, {.images = 100}).flops == doctest::Approx(600 * dense));

  const Plan half = {Cycle{1}, PruneStep{"magnitude", "global", 0.5}, Cycle{1}};
  const PlanCost pruned = plan_cost(half, network, {.images = 100});
  CHECK(pruned.estimated);
  CHECK(pruned.steps[1].density == std::round(0.5 * 426) / 426);
  CHECK(pruned.steps[2].flops / pruned.steps[0].flops == doctest::Approx(0.5).epsilon(0.01));
}

TEST_CASE("plan cost: layer-wise allocations are exact before the run") {
  for (const char* allocation : {"uniform", "erk", "balanced"}) {
    CAPTURE(std::string(allocation));
    TemporaryFolder folder;
    const Plan plan = {PruneStep{"random", allocation, 0.3}, Cycle{2},
                       PruneStep{"magnitude", allocation, 0.1}, Cycle{1}};
    TinyRun run(folder.path(), plan);
    const PlanCost cost =
        plan_cost(plan, run.network(), {.images = run.source().size(), .batch = 8});
    CHECK_FALSE(cost.estimated);
    run.trainer().start();
    run.trainer().run();
    CHECK(run.trainer().state().flops == doctest::Approx(cost.flops).epsilon(1e-12));
  }
}

TEST_CASE(
    "plan cost: rules that keep densities cost what the run counts, full gradients included") {
  for (const char* rule : {"rigl", "set", "itop"}) {
    CAPTURE(std::string(rule));
    TemporaryFolder folder;
    // 3 steps in an epoch, the last one with 6 of 8 images. The second cycle enters its schedule
    // late, where an interval of 100 steps has passed.
    const Plan plan = {PruneStep{"random", "erk", 0.3}, Cycle{120, 0, rule}, Cycle{110, 40, rule}};
    TinyRun run(folder.path(), plan);
    const CostSettings settings{.images = run.source().size(), .batch = 8};
    const PlanCost cost = plan_cost(plan, run.network(), settings);
    CHECK_FALSE(cost.estimated);
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    CHECK(run.trainer().state().flops == doctest::Approx(cost.flops).epsilon(1e-12));
    CHECK(cost.mean_density == doctest::Approx(std::round(0.3 * 426) / 426).epsilon(1e-12));

    const PlanCost fixed = plan_cost({PruneStep{"random", "erk", 0.3}, Cycle{120}, Cycle{110, 40}},
                                     run.network(), settings);
    if (std::string(rule) == "rigl") {
      // The first cycle changes masks after steps 100 and 200, of 8 and of 8 images, and the second
      // one after step 200; each of these steps has all weight gradients.
      double more = 0;
      const std::vector<LayerCost> layers = layer_costs(run.network());
      REQUIRE(layers.size() == cost.steps[0].kept.size());
      const std::vector<double> counts = {90, 315, 21};
      for (size_t l = 0; l < layers.size(); ++l)
        more += 2.0 * static_cast<double>(layers[l].macs) *
                (1 - static_cast<double>(cost.steps[0].kept[l]) / counts[l]);
      CHECK(cost.flops - fixed.flops == doctest::Approx(3 * 8 * more).epsilon(1e-9));
    } else if (std::string(rule) == "set") {
      CHECK(cost.flops == doctest::Approx(fixed.flops).epsilon(1e-12));  // reads no gradients
    }
  }
}

TEST_CASE("plan cost: rules that change the density have the mean density of the run") {
  const struct {
    const char* rule;
    double start, target;
  } cases[] = {
      {"gmp", 1, 0.2}, {"granet", 0.6, 0.2}, {"acdc", 1, 0.2}, {"acdc", 0.1, 0.3}, {"str", 1, 0.2}};
  for (const auto& c : cases) {
    CAPTURE(std::string(c.rule));
    CAPTURE(c.start);
    TemporaryFolder folder;
    const Plan plan = {PruneStep{"magnitude", "global", c.start}, Cycle{1},
                       Cycle{150, 0, c.rule, c.target}, Cycle{2}};
    TinyRun run(folder.path(), plan);
    const PlanCost cost =
        plan_cost(plan, run.network(), {.images = run.source().size(), .batch = 8});
    CHECK(cost.estimated);
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    const RunState& state = run.trainer().state();
    CHECK(state.density_sum / static_cast<double>(state.steps) ==
          doctest::Approx(cost.mean_density).epsilon(1e-12));
    CHECK(cost.steps[2].density == std::round(c.target * 426) / 426);
    CHECK(cost.steps[2].mean_density > c.target);
    CHECK(run.network().parameters().kept_count() == std::llround(c.target * 426));
    // Which layers lose weights is an assumption, so the FLOPs are about those of the run.
    CHECK(cost.flops == doctest::Approx(state.flops).epsilon(0.2));
  }
}

TEST_CASE("plan cost: a rule may end each of several cycles with the same density") {
  // 0.2 of 426 weights are 85, and 85 / 426 is below 0.2.
  for (const char* rule : {"gmp", "granet", "acdc", "str"}) {
    CAPTURE(std::string(rule));
    TemporaryFolder folder;
    const Plan plan = {Cycle{40, 0, rule, 0.2}, Cycle{40, 0, rule, 0.2}};
    TinyRun run(folder.path(), plan);
    const PlanCost cost =
        plan_cost(plan, run.network(), {.images = run.source().size(), .batch = 8});
    CHECK(cost.steps[1].density == 85.0 / 426);
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    CHECK(run.network().parameters().kept_count() == 85);
  }
}

TEST_CASE("plan cost: what cannot reach its density fails before the run, naming the step") {
  Network network(tiny_spec(), kernels::cpu_backend(), 8);
  const auto message = [&](const Plan& plan, const CostSettings& settings) {
    return error_of([&] { plan_cost(plan, network, settings); });
  };
  const CostSettings settings{.images = 22, .batch = 8};
  CHECK(contains(message({Cycle{1}, PruneStep{"magnitude", "global", 0.0001}, Cycle{1}}, settings),
                 "step 2 of the plan"));
  CHECK(contains(message({Cycle{10, 0, "gmp", 0.0001}}, settings), "keeps none of the 426"));
  NetworkSpec exempt = tiny_spec();
  exempt.exempt = {"*"};
  const Network all_exempt(exempt, kernels::cpu_backend(), 8);
  CHECK(contains(error_of([&] {
                   plan_cost({Cycle{10, 0, "gmp", 0.1}}, all_exempt, settings);
                 }),
                 "every layer is exempt"));
  // A prune to the same density leaves 85 of 426 weights, a little less than the density.
  const Plan twice = {PruneStep{"random", "erk", 0.2}, Cycle{10, 0, "acdc", 0.2}};
  CHECK(plan_cost(twice, network, settings).steps[1].density == 85.0 / 426);
  // gmp's last prune lies before the epoch in which the cycle begins.
  CHECK(contains(message({Cycle{10, 9, "gmp", 0.1}}, settings), "step 1 of the plan"));

  // A loaded mask decides what a later prune can keep.
  StoredNetwork stored;
  stored.masks.assign(static_cast<size_t>(network.parameters().count()), 1);
  const Parameter& conv2 =
      *std::ranges::find(network.parameters().parameters(), "conv2.weight", &Parameter::name);
  std::fill_n(stored.masks.begin() + conv2.offset, conv2.count, uint8_t{0});
  CostSettings with_file = settings;
  with_file.stored = [&](const Intervention&) { return &stored; };
  const Plan plan = {PruneStep{"random", "erk", 0.1}, Intervention{"load mask", "x"}, Cycle{1},
                     PruneStep{"magnitude", "global", 0.5}, Cycle{1}};
  CHECK(contains(message(plan, with_file), "step 4 of the plan"));
  const Plan lower = {plan[0], plan[1], plan[2], PruneStep{"magnitude", "global", 0.2}, Cycle{1}};
  const PlanCost cost = plan_cost(lower, network, with_file);
  CHECK(cost.steps[1].kept == std::vector<int64_t>{90, 0, 21});
  CHECK(cost.steps[2].mean_density == 111.0 / 426);
  const Plan with_rule = {plan[1], Cycle{10, 0, "gmp", 0.5}};
  CHECK(contains(message(with_rule, with_file), "gmp only lowers it"));
  // If the step is done, the file is not read, and any density may follow.
  CHECK(message(plan, settings).empty());
}
