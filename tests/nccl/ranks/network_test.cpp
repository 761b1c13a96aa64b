// Training on several GPUs: recorded steps are the steps that were launched kernel by kernel, bit
// for bit, on every rank, and they are those of one rank up to rounding.

#include "engine/nn/network.h"

#include <cmath>
#include <doctest/doctest.h>

#include "cuda_on_host/streams.h"
#include "engine/core/step_recorder.h"
#include "engine/run/run_folder.h"
#include "tests/nccl/ranks/ranks.h"
#include "tests/support/shrink_and_grow.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace sculpt;
using namespace sculpt::testing;
using cuda_on_host::StreamOrder;
using test::backend;
using test::ranks;

constexpr int64_t kBatch = 8;
constexpr int kSteps = 4;

std::string as_text(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

/// Returns the gradients of each step.
std::vector<std::vector<float>> gradients_of_steps(Communicator& of_ranks, bool recorded,
                                                   int64_t bucket_bytes) {
  Execution execution;
  execution.ranks = &of_ranks;
  execution.gradients.bucket_bytes = bucket_bytes;
  Network network(tiny_spec(), backend(), kBatch, execution);
  network.initialise(7);
  TinySource source(kSteps * kBatch, kBatch, 1);
  source.start_epoch(0, 0);
  StepRecorder recorder(recorded ? backend().recording : kernels::RecordingHooks{});
  std::vector<std::vector<float>> gradients;
  for (int step = 0; step < kSteps; ++step) {
    network.load(source.next(), source.normalization());
    network.begin_step(static_cast<uint64_t>(step));
    recorder.run({kBatch, 0}, [&] {
      network.forward_adding(Mode::train);
      network.backward();
    });
    const auto of_step = network.parameters().gradients<float>();
    gradients.emplace_back(of_step.begin(), of_step.end());
  }
  CHECK(recorder.replayed() == (recorded ? kSteps - 1 : 0));
  return gradients;
}

TEST_CASE("gpu training: gradients of recorded steps with several buckets") {
  const auto alone = gradients_of_steps(one_rank(), true, 0);
  const test::Connection connection;
  const auto launched = gradients_of_steps(ranks(), false, 256);
  for (const StreamOrder order :
       {StreamOrder::kIssued, StreamOrder::kSideFirst, StreamOrder::kSideLast}) {
    cuda_on_host::set_stream_order(order);
    CHECK(gradients_of_steps(ranks(), true, 256) == launched);
  }
  cuda_on_host::set_stream_order(StreamOrder::kIssued);
  for (size_t step = 0; step < alone.size(); ++step) {
    const std::vector<std::string> all = ranks().all_gather(as_text(launched[step]));
    for (const std::string& of_rank : all)
      CHECK(of_rank == all[0]);
    double apart = 0, length = 0;
    for (size_t i = 0; i < alone[step].size(); ++i) {
      apart += std::pow(launched[step][i] - alone[step][i], 2);
      length += std::pow(alone[step][i], 2);
    }
    CHECK(length > 0);
    CHECK(std::sqrt(apart / length) < 1e-5);
  }
}

/// The plan prunes before and between cycles, and a hook shrinks and grows the mask within the last
/// one. All of them change what ranks exchange.
const Plan kPlan = {PruneStep{"magnitude", "global", 0.5}, Cycle{2},
                    PruneStep{"magnitude", "global", 0.2}, RewindStep{1}, Cycle{4, 1}};
constexpr int64_t kShrinkAfter = 8, kGrowAfter = 10;  // of 15 steps

/// Trains by the plan and returns the final weights.
std::vector<float> trained(const std::filesystem::path& folder, bool step_graph) {
  TrainOptions options = TinyRun::tiny_options();
  options.execution.step_graph = step_graph;
  ShrinkAndGrow hook(kShrinkAfter, kGrowAfter);
  TinyRun run(folder, kPlan, options, 22, TinyRun::tiny_pruning(), TinyRun::kHash, {},
              make_optimizer, {&hook}, ranks());
  run.trainer().start();
  CHECK(run.trainer().run() == RunOutcome::finished);
  CHECK((run.trainer().replayed_steps() > 0) == step_graph);
  CHECK(!hook.grown.empty());
  ParameterArena& arena = run.network().parameters();
  arena.store_dense();
  const auto weights = arena.weights<float>();
  return {weights.begin(), weights.end()};
}

TEST_CASE("gpu training: whole runs with recorded steps end with the same bits on all ranks") {
  const TemporaryFolder recorded_folder, launched_folder;
  const test::Connection connection;
  const std::vector<float> recorded = trained(recorded_folder.path(), true);
  CHECK(recorded == trained(launched_folder.path(), false));
  const std::vector<std::string> all = ranks().all_gather(as_text(recorded));
  for (const std::string& of_rank : all)
    CHECK(of_rank == all[0]);
}

}  // namespace
