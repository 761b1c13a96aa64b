// The cost of a plan before the run is compared with the formula summed by hand and with a real
// prune.

#include "engine/plan/plan_cost.h"

#include <cmath>
#include <doctest/doctest.h>

#include "engine/nn/cost.h"
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
