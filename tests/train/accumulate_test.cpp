// Runs whose steps are computed in parts (train.accumulate).

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/run/run_folder.h"
#include "tests/support/needs.h"
#include "tests/support/run_results.h"
#include "tests/support/tested_backends.h"
#include "tests/support/thread_ranks.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

const Plan kPlan = {Cycle{2}, PruneStep{"magnitude", "global", 0.5}, RewindStep{1}, Cycle{2, 1}};
constexpr int64_t kSteps = 3 * 3;

/// 22 images in batches of 8: two steps of 8 images and one of 6, in parts of at most 3.
TrainOptions in_parts(bool step_graph = true) {
  TrainOptions options = TinyRun::tiny_options();
  options.accumulate = 3;
  options.execution.step_graph = step_graph;
  return options;
}

std::vector<std::byte> finished(const std::filesystem::path& folder, const TrainOptions& options) {
  TinyRun run(folder, kPlan, options);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  CHECK(run.trainer().state().steps == kSteps);
  CHECK(run.trainer().state().images == 3 * 22);
  return read_file(RunFolder(folder).final_checkpoint());
}

}  // namespace

TEST_CASE("accumulate: recorded parts are those launched kernel by kernel") {
  const TemporaryFolder graph, eager, whole;
  const auto expected = finished(graph.path(), in_parts());
  CHECK(expected == finished(eager.path(), in_parts(false)));
  CHECK(expected != finished(whole.path(), TinyRun::tiny_options()));  // batch norm sees parts
}

TEST_CASE("accumulate: a run that is interrupted after any step ends with the same bytes") {
  const TemporaryFolder uninterrupted;
  const auto expected = finished(uninterrupted.path(), in_parts());
  for (int64_t step = 1; step < kSteps; ++step) {
    CAPTURE(step);
    const TemporaryFolder folder;
    {
      TinyRun run(folder.path(), kPlan, in_parts());
      run.stop_after_step(step);
      run.trainer().start();
      REQUIRE(run.trainer().run() == RunOutcome::interrupted);
    }
    TinyRun run(folder.path(), kPlan, in_parts());
    std::vector<std::string> warnings;
    run.trainer().resume(warnings);
    CHECK(warnings.empty());
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    CHECK(read_file(RunFolder(folder.path()).final_checkpoint()) == expected);
  }
}

TEST_CASE("accumulate: the loss of an epoch is that of all parts") {
  // The first epoch's learning rate is so small that the weights stay nearly the same.
  TrainOptions options = in_parts();
  options.optim.lr = 1e-6;
  options.optim.schedule = "constant";
  const TemporaryFolder parts, whole;
  const auto first_loss = [](const std::filesystem::path& folder, const TrainOptions& train) {
    TinyRun run(folder, {Cycle{1}}, train);
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    return lines_of(RunFolder(folder).metrics()).front()["train_loss"].get<double>();
  };
  const double in_pieces = first_loss(parts.path(), options);
  options.accumulate = 1;
  // Batch norm and dropout make a difference, and a part that counts twice a larger one.
  CHECK(in_pieces == doctest::Approx(first_loss(whole.path(), options)).epsilon(0.2));
}

// The ranks of this test are threads, whose sums go through the host's memory.
TEST_CASE("accumulate: several ranks take the steps of one" * test::needs_cpu()) {
  TrainOptions options = TinyRun::tiny_options();
  options.accumulate = 2;
  std::vector<std::vector<float>> weights(3);
  const TemporaryFolder folder;
  run_on_ranks(3, [&](Communicator& rank) {
    TinyRun run{folder.path(),  kPlan, options,        22, TinyRun::tiny_pruning(),
                TinyRun::kHash, {},    make_optimizer, {}, rank};
    run.trainer().start();
    if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
    if (run.trainer().state().steps != kSteps) fail("{} steps", run.trainer().state().steps);
    run.network().parameters().store_dense();
    const auto values = run.network().parameters().weights<float>();
    weights[static_cast<size_t>(rank.rank())].assign(values.begin(), values.end());
  });
  CHECK(weights[0] == weights[1]);
  CHECK(weights[0] == weights[2]);
  TinyRun alone{folder.path() / "alone", kPlan, options};
  alone.trainer().start();
  REQUIRE(alone.trainer().run() == RunOutcome::finished);
  alone.network().parameters().store_dense();
  const auto expected = alone.network().parameters().weights<float>();
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, std::abs(double{weights[0][i]} - double{expected[i]}));
  CHECK(largest < 1e-4);
}
