// Whole runs with each form of an optimizer: the same bytes after an interruption after any step,
// exact zeros while masks shrink and grow, and what an average of weights changes.

#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <string>
#include <vector>

#include "engine/nn/evaluate.h"
#include "engine/run/checkpoint.h"
#include "engine/run/run_folder.h"
#include "tests/support/hooked_run.h"
#include "tests/support/shrink_and_grow.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

const Plan kPlan = {Cycle{2}, PruneStep{"magnitude", "global", 0.4}, Cycle{3}};
constexpr int64_t kSteps = 5 * kStepsPerEpoch;
constexpr int64_t kShrink = 8, kGrow = 11;  // after the prune, in the first and second epoch

TrainOptions options_with(const std::function<void(OptimOptions&)>& change) {
  TrainOptions train = TinyRun::tiny_options();
  train.execution.sparse = "on";  // packed layouts on a CPU
  train.optim.lr = 0.02;
  change(train.optim);
  return train;
}

std::map<std::string, TrainOptions> forms() {
  return {
      {"adamw, ham, average", options_with([](OptimOptions& o) {
         o.rule = "adamw";
         o.ham = true;
         o.ema = 0.8;
       })},
      {"sgd, sign-in, average", options_with([](OptimOptions& o) {
         o.sign_in = 1;
         o.clip_norm = 1;
         o.ema = 0.8;
       })},
      {"nesterov, ham", options_with([](OptimOptions& o) {
         o.nesterov = true;
         o.ham = true;
       })},
      {"nesterov, sign-in", options_with([](OptimOptions& o) {
         o.nesterov = true;
         o.sign_in = 2;
       })},
  };
}

/// Runs the plan, with masks that shrink and grow, up to `stop_after` steps if it is not -1.
struct Session {
  Session(const std::filesystem::path& folder, const TrainOptions& options, int64_t stop_after)
      : run(run_with(folder, kPlan, {&changer, &examiner}, options)) {
    if (stop_after >= 0) run.stop_after_step(stop_after);
  }
  ShrinkAndGrow changer{kShrink, kGrow};
  Examiner examiner;
  TinyRun run;
};

TEST_CASE("optimizer forms: runs that are interrupted after any step end with the same bytes") {
  for (const auto& [name, options] : forms()) {
    CAPTURE(name);
    const TemporaryFolder folder;
    Session whole(folder / "whole", options, -1);
    REQUIRE(start(whole.run) == RunOutcome::finished);
    CHECK(whole.examiner.not_zero == 0);
    CHECK(whole.changer.grown.size() > 0);
    const std::string expected = results_of(folder / "whole");
    // On the host layer of CUDA, steps take long.
    for (int64_t step = 1; step < kSteps; step += on_device() ? 5 : 1) {
      CAPTURE(step);
      const auto path = folder / fmt::format("step-{}", step);
      {
        Session first(path, options, step);
        REQUIRE(start(first.run) == RunOutcome::interrupted);
      }
      Session second(path, options, -1);
      REQUIRE(resume(second.run) == RunOutcome::finished);
      CHECK(second.examiner.not_zero == 0);
      CHECK(results_of(path) == expected);
    }
  }
}

TEST_CASE("optimizer forms: an extended run ends with the bytes of the longer run") {
  const Plan longer = {Cycle{2}, Cycle{2}};
  const TrainOptions options = forms().at("adamw, ham, average");
  const auto run_of = [&](const std::filesystem::path& folder, const Plan& plan, const char* hash) {
    return TinyRun(folder, plan, options, kImages, TinyRun::tiny_pruning(), hash);
  };
  const TemporaryFolder folder;
  TinyRun whole = run_of(folder / "whole", longer, "bbbbbbbbbbbbbbbb");
  REQUIRE(start(whole) == RunOutcome::finished);
  {
    TinyRun shorter = run_of(folder / "part", {longer.front()}, "aaaaaaaaaaaaaaaa");
    REQUIRE(start(shorter) == RunOutcome::finished);
  }
  TinyRun extended = run_of(folder / "part", longer, "bbbbbbbbbbbbbbbb");
  extended.store().require_extensible({longer.front()}, "aaaaaaaaaaaaaaaa", longer);
  extended.store().extend(extended.network().parameters(), "aaaaaaaaaaaaaaaa", "");
  REQUIRE(resume(extended) == RunOutcome::finished);
  CHECK(final_of(folder / "part") == final_of(folder / "whole"));
}

TEST_CASE("optimizer forms: an average is measured, and becomes the weights after the cycle") {
  const auto records = [](double ema, const auto& look) {
    const TemporaryFolder folder;
    const TrainOptions options = options_with([&](OptimOptions& o) { o.ema = ema; });
    TinyRun run(folder.path(), {Cycle{3}, Cycle{1}}, options);
    REQUIRE(start(run) == RunOutcome::finished);
    look(run);
    return lines_of(RunFolder(folder.path()).metrics());
  };
  double last_loss = NAN;
  const auto averaged = records(0.6, [&](TinyRun& run) {
    TinySource test(10, TinyRun::tiny_options().images_at_a_time(), 2);
    BatchFeed feed(run.network(), test);
    last_loss = evaluate(run.network(), feed, [] { return false; })->loss;
  });
  const auto raw = records(0, [](TinyRun&) {});
  REQUIRE(averaged.size() == 4);
  // Training goes on with the weights themselves, so the losses of the first cycle are the same.
  for (size_t epoch = 0; epoch < 3; ++epoch) {
    CHECK(averaged[epoch]["train_loss"] == raw[epoch]["train_loss"]);
    CHECK(averaged[epoch]["test_loss"] != raw[epoch]["test_loss"]);
  }
  // The second cycle starts from the average.
  CHECK(averaged[3]["train_loss"] != raw[3]["train_loss"]);
  CHECK(averaged[3]["test_loss"] == last_loss);
}

TEST_CASE("optimizer forms: a checkpoint inside a cycle holds weights, average and steps") {
  const TemporaryFolder folder;
  TrainOptions options = forms().at("adamw, ham, average");
  TinyRun run(folder.path(), {Cycle{2}}, options);
  run.stop_after_step(4);
  REQUIRE(start(run) == RunOutcome::interrupted);
  const auto newest = run.store().newest_good_state();
  REQUIRE(newest);
  CHECK(newest->second.optimizer == std::map<std::string, std::string>{{"steps", "4"}});
  const auto file = safetensors::File::read(newest->first, true);
  CHECK(file.has("optimizer.second_moment.fc.weight"));
  CHECK(file.has("optimizer.average.fc.weight"));
  CHECK_FALSE(file.has("optimizer.factor.fc.weight"));
}

TEST_CASE("optimizer forms: a run of SGD saves no values of the optimizer") {
  const TemporaryFolder folder;
  TinyRun run(folder.path(), {Cycle{2}});
  run.stop_after_step(4);
  REQUIRE(start(run) == RunOutcome::interrupted);
  CHECK(run.store().newest_good_state()->second.optimizer.empty());
}

}  // namespace
