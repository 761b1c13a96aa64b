// A second optimizer is written against optim/optimizer.h alone. Runs, masks, dense timing,
// checkpoints and resumes must work with it as they do with SGD.
#include "engine/optim/optimizer.h"

#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/run/checkpoint.h"
#include "tests/support/comparison.h"
#include "tests/support/plain_adam.h"
#include "tests/support/tiny_run.h"

namespace sculpt {
namespace {

using testing::is_plus_zero;
using testing::plain_adam;
using testing::TemporaryFolder;
using testing::TinyRun;

const Plan kPlan = {Cycle{2, 0}, PruneStep{"magnitude", "global", 0.2}, Cycle{2, 0},
                    PruneStep{"magnitude", "global", 0.1}, Cycle{2, 0}};

TrainOptions options() {
  TrainOptions train = TinyRun::tiny_options();
  train.optim.lr = 0.01;
  train.execution.step_graph = false;  // PlainAdam works on the host, between the kernels
  return train;
}

TinyRun adam_run(const std::filesystem::path& folder, const TrainOptions& train = options()) {
  return TinyRun(folder, kPlan, train, 22, TinyRun::tiny_pruning(), TinyRun::kHash, {}, plain_adam);
}

TEST_CASE("optimizer: a second one trains, and masked elements of all its arrays are +0") {
  const TemporaryFolder folder;
  TrainOptions train = options();
  train.execution.sparse = "on";  // packed layouts on a CPU
  TinyRun run = adam_run(folder / "a", train);
  run.trainer().start();
  const std::vector<float> before(run.network().parameters().weights<float>().begin(),
                                  run.network().parameters().weights<float>().end());
  REQUIRE(run.trainer().run() == RunOutcome::finished);

  ParameterArena& arena = run.network().parameters();
  REQUIRE(arena.optimizer_array_count() == 3);
  CHECK(arena.optimizer_array_name(1) == "first_moment");
  CHECK(arena.optimizer_array_name(2) == "second_moment");
  CHECK(arena.kept_count() == std::llround(0.1 * static_cast<double>(arena.prunable_count())));
  int64_t moved = 0, moments = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    moved += arena.weights<float>()[i] != before[i];
    moments += arena.optimizer_values<float>(2)[i] != 0;
    if (arena.masks()[i] != 0) continue;
    CHECK(is_plus_zero(arena.weights<float>()[i]));
    CHECK(is_plus_zero(arena.optimizer_values<float>(1)[i]));
    CHECK(is_plus_zero(arena.optimizer_values<float>(2)[i]));
  }
  CHECK(moved > 0);
  CHECK(moments > 0);
}

TEST_CASE(
    "optimizer: a run of a second one that is interrupted anywhere ends with the same bytes") {
  const TemporaryFolder folder;
  TinyRun whole = adam_run(folder / "whole");
  whole.trainer().start();
  REQUIRE(whole.trainer().run() == RunOutcome::finished);
  const std::string expected = read_text(folder / "whole/checkpoints/final.safetensors");

  const auto interrupt_and_resume = [&](const std::string& name, const auto& stop) {
    CAPTURE(name);
    const auto path = folder / name;
    {
      TinyRun first = adam_run(path);
      stop(first);
      first.trainer().start();
      REQUIRE(first.trainer().run() == RunOutcome::interrupted);
    }
    TinyRun second = adam_run(path);
    std::vector<std::string> warnings;
    second.trainer().resume(warnings);
    CHECK(warnings.empty());
    REQUIRE(second.trainer().run() == RunOutcome::finished);
    CHECK(read_text(path / "checkpoints/final.safetensors") == expected);
  };
  // Within an epoch, at the end of an epoch, at the end of a cycle, after the first step with a
  // mask, and before the last step. A cycle has two epochs of three steps.
  for (const int64_t step : {1, 3, 6, 7, 17})
    interrupt_and_resume(fmt::format("step-{}", step),
                         [&](TinyRun& run) { run.stop_after_step(step); });
  for (const int64_t plan_step : {1, 2})  // before and after the first prune
    interrupt_and_resume(fmt::format("plan-step-{}", plan_step),
                         [&](TinyRun& run) { run.stop_before_plan_step(plan_step); });
}

TEST_CASE("optimizer: a checkpoint names the arrays, and one of another optimizer is refused") {
  const TemporaryFolder folder;
  TinyRun adam = adam_run(folder / "adam");
  adam.stop_after_step(3);
  adam.trainer().start();
  REQUIRE(adam.trainer().run() == RunOutcome::interrupted);
  const auto newest = adam.store().newest_good_state();
  REQUIRE(newest);
  const auto file = safetensors::File::read(newest->first, true);
  CHECK(file.has("optimizer.second_moment.fc.weight"));

  TinyRun sgd(folder / "sgd", kPlan, options());
  sgd.trainer().start();
  const auto of_sgd = sgd.store().newest_good_state();
  REQUIRE(of_sgd);
  const CheckpointContent all{.masks = true, .optimizer = true};
  CHECK_THROWS_WITH(read_checkpoint(safetensors::File::read(of_sgd->first, true),
                                    adam.network().parameters(), all),
                    doctest::Contains("optimizer.first_moment."));
}

}  // namespace
}  // namespace sculpt
