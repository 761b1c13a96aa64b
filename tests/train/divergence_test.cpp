// A run that diverges says so, whatever is evaluated and saved. It records the epoch and names the
// last good checkpoint.

#include "engine/train/divergence.h"

#include <cmath>
#include <doctest/doctest.h>
#include <limits>

#include "engine/run/run_folder.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// |1 - lr * decay| is about 1000: weights grow by that factor in each step.
TrainOptions diverging_options() {
  TrainOptions options = TinyRun::tiny_options();
  options.epochs = 50;
  options.eval_every = 1000;
  options.optim.schedule = "constant";
  options.optim.lr = 1e3;
  options.optim.weight_decay = 1;
  return options;
}

std::string run_to_error(TinyRun& run) {
  run.trainer().start();
  return error_of([&] { run.trainer().run(); });
}

void spoil(ParameterArena& arena, const std::string& parameter, float value) {
  for (const Parameter& p : arena.parameters())
    if (p.name == parameter) ParameterArena::slice(arena.edit_weights<float>(), p)[1] = value;
}

}  // namespace

TEST_CASE("divergence: weights, momentum and statistics that are not finite are found and named") {
  Network network(tiny_spec(), *test::tested_backends().front(), 8);
  network.initialise(1);
  ParameterArena& arena = network.parameters();
  CHECK(error_of([&] { require_finite(arena); }) == "");
  const auto last = arena[static_cast<ParameterId>(arena.parameters().size()) - 1];
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    const std::string said = std::isnan(bad) ? "not a number" : "infinite";
    for (const auto& [value, what] :
         {std::pair<float*, std::string>(&arena.edit_weights<float>()[0], "conv1.weight has"),
          {&arena.edit_weights<float>().back(), last.name + " has"},
          {&arena.edit_momentum<float>().back(), "the momentum of " + last.name},
          {&arena.edit_state_values<float>().back(), "bn2.running_var has"}}) {
      const float before = std::exchange(*value, bad);
      const std::string message = error_of([&] { require_finite(arena); });
      CAPTURE(message);
      CHECK(contains(message, what));
      CHECK(contains(message, said));
      *value = before;
    }
  }
  arena.edit_weights<float>()[0] = std::numeric_limits<float>::max();
  arena.edit_weights<float>()[1] = std::numeric_limits<float>::denorm_min();
  CHECK(error_of([&] { require_finite(arena); }) == "");
}

TEST_CASE("divergence: the message names the last good checkpoint and the epoch has a line") {
  TemporaryFolder folder;
  TinyRun run(folder / "run", {Cycle{50}}, diverging_options());
  const std::string message = run_to_error(run);
  CAPTURE(message);
  CHECK(contains(message, "training diverged in epoch "));
  const auto metrics = lines_of(RunFolder(folder / "run").metrics());
  REQUIRE(!metrics.empty());
  CHECK(metrics.back()["diverged"] == true);
  CHECK(metrics.back()["epoch"] == run.trainer().state().epochs + 1);
  CHECK(metrics.back()["test_accuracy"].is_null());
  CHECK(metrics.back()["lr"] == 1e3);
  for (size_t i = 0; i + 1 < metrics.size(); ++i)
    CHECK_FALSE(metrics[i].contains("diverged"));
  // checkpoint_every is 1: each finished epoch has left a state.
  const int64_t epochs = run.trainer().state().epochs;
  CHECK(contains(message, epochs > 0 ? fmt::format("written after epoch {}", epochs)
                                     : "written before the first step"));

  // No state between the start of the run and the end of the cycle.
  TrainOptions rare = diverging_options();
  rare.checkpoint_every = 0;
  TinyRun none(folder / "none", {Cycle{50}}, rare);
  CHECK(contains(run_to_error(none), "written before the first step"));
}

TEST_CASE("divergence: the checkpoint that is named is good, and a resume diverges again") {
  TemporaryFolder folder;
  TrainOptions options = diverging_options();
  options.checkpoint_steps = 1;
  TinyRun bad(folder / "run", {Cycle{50}}, options);
  const std::string message = run_to_error(bad);
  CAPTURE(message);
  CHECK(contains(message, "lower optim.lr"));
  CHECK(contains(message, fmt::format("state-{:06}.safetensors", bad.trainer().state().saves)));
  TinyRun again(folder / "run", {Cycle{50}}, options);
  std::vector<std::string> warnings;
  again.trainer().resume(warnings);
  CHECK(warnings.empty());
  CHECK(again.trainer().state().saves == bad.trainer().state().saves);
  require_finite(again.network().parameters());
  CHECK(contains(error_of([&] { again.trainer().run(); }), "training diverged"));
  // The epoch has one line, however many attempts there were.
  const auto metrics = lines_of(RunFolder(folder / "run").metrics());
  CHECK(metrics.size() == static_cast<size_t>(again.trainer().state().epochs) + 1);
}

TEST_CASE("divergence: a finite loss over weights that are not is no good state") {
  // ReLU makes 0 of what is not a number, so the loss stays finite.
  for (const bool inside : {false, true}) {
    CAPTURE(inside);
    TemporaryFolder folder;
    TrainOptions options = TinyRun::tiny_options();
    options.eval_every = 1000;
    options.checkpoint_steps = inside ? 1 : 0;
    const auto load = [](ParameterArena& arena) {
      spoil(arena, "conv1.weight", std::numeric_limits<float>::quiet_NaN());
    };
    TinyRun run(folder / "run", {Cycle{2}}, options, 22, TinyRun::tiny_pruning(), TinyRun::kHash,
                load);
    const std::string message = run_to_error(run);
    CAPTURE(message);
    CHECK(contains(message, "training diverged in epoch 1"));
    CHECK(contains(message, "there is no checkpoint to resume from"));
    CHECK(run.trainer().state().saves == 0);
    CHECK(lines_of(RunFolder(folder / "run").metrics()).size() == 1);
  }
}

TEST_CASE("divergence: the command names the config, a lower rate and a folder that is free") {
  TemporaryFolder folder;
  const DivergencePlace place{3, 4, 0.02, 0.5};
  const auto message = [&](const std::filesystem::path& root) {
    const RunStore store(RunFolder(root), "0123456789abcdef");
    return divergence_message(Divergence("the training loss is infinite"), place, store);
  };
  const std::string root = (folder / "run").string();
  CHECK(contains(message(root),
                 "training diverged in epoch 3, step 4 (learning rate 0.02): the training loss is "
                 "infinite\n"));
  CHECK(contains(
      message(root),
      fmt::format("sculpt_run {0}/config.toml --set optim.lr=0.05 --out {0}-lr0.05", root)));
  CHECK(contains(message(root + "/"), fmt::format("--out {}-lr0.05", root)));
  std::filesystem::create_directory(root + "-lr0.05");
  CHECK(contains(message(root), fmt::format("--out {}-lr0.05-2", root)));
  const std::string odd = (folder / "it's a run").string();
  CHECK(contains(message(odd), "--out '" + (folder / "it").string() + "'\\''s a run-lr0.05'"));
}
