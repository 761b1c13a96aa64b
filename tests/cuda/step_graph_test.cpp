// Steps launched as CUDA graphs against steps launched kernel by kernel: the same run, bit for bit.

#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "tests/support/tested_backends.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace sculpt;
using namespace sculpt::testing;
using test::tested_backends;

// Masks, weights and momentum change between the cycles, and recorded steps must follow these
// changes.
const Plan kPlan = {Cycle{2},    PruneStep{"magnitude", "global", 0.5}, RewindStep{1},
                    Cycle{2, 1}, PruneStep{"random", "erk", 0.25},      Cycle{1}};

TrainOptions options_with(bool step_graph, double clip_norm) {
  TrainOptions options = TinyRun::tiny_options();
  options.execution.step_graph = step_graph;
  options.optim.clip_norm = clip_norm;
  options.checkpoint_steps = 2;
  return options;
}

std::vector<std::byte> finished(const std::filesystem::path& folder, const TrainOptions& options) {
  TinyRun run(folder, kPlan, options);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  CHECK((run.trainer().replayed_steps() > 0) == options.execution.step_graph);
  return read_file(RunFolder(folder).final_checkpoint());
}

TEST_CASE("step graph: a run is bit-identical to one launched kernel by kernel") {
  for (const double clip_norm : {0.0, 0.05}) {
    CAPTURE(clip_norm);
    TemporaryFolder graph, eager;
    CHECK(finished(graph.path(), options_with(true, clip_norm)) ==
          finished(eager.path(), options_with(false, clip_norm)));
  }
}

TEST_CASE("step graph: what was left kernel by kernel goes on as graphs, and the other way round") {
  TemporaryFolder whole;
  const auto expected = finished(whole.path(), options_with(false, 0));
  for (const bool graph_first : {false, true}) {
    CAPTURE(graph_first);
    TemporaryFolder folder;
    {
      TinyRun run(folder.path(), kPlan, options_with(graph_first, 0));
      run.stop_after_step(5);
      run.trainer().start();
      REQUIRE(run.trainer().run() == RunOutcome::interrupted);
    }
    TinyRun run(folder.path(), kPlan, options_with(!graph_first, 0));
    std::vector<std::string> warnings;
    run.trainer().resume(warnings);
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    CHECK(read_file(RunFolder(folder.path()).final_checkpoint()) == expected);
  }
}

TEST_CASE("step graph: a diverging run ends inside its epoch, though nobody waits for the loss") {
  TemporaryFolder folder;
  TrainOptions options = options_with(true, 0);
  options.batch = 1;
  options.checkpoint_steps = 0;
  options.optim.lr = 1e30;
  options.optim.schedule = "constant";
  TinyRun run(folder.path(), {Cycle{1}}, options, 70);
  run.trainer().start();
  CHECK_THROWS_WITH_AS(run.trainer().run(), doctest::Contains("in epoch 1, step 32 (learning"),
                       Error);
  CHECK(run.trainer().state().steps == 64);
}

}  // namespace
