// Whole runs on several ranks, against the same run on one rank.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>

#include "engine/core/error.h"
#include "engine/run/run_folder.h"
#include "engine/train/agreement.h"
#include "tests/support/run_results.h"
#include "tests/support/thread_ranks.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

const Plan kPlan = {PruneStep{"snip", "global", 0.6}, Cycle{2},
                    PruneStep{"magnitude", "global", 0.3}, RewindStep{1}, Cycle{2, 1}};
constexpr int64_t kSteps = 3 * 3;

/// The network and the state at the end of a run.
struct End {
  std::vector<float> weights, statistics;
  std::vector<uint8_t> masks;
  RunState state;
};

End end_of(TinyRun& run) {
  ParameterArena& arena = run.network().parameters();
  arena.store_dense();
  const auto weights = arena.weights<float>(), statistics = arena.state_values<float>();
  const auto masks = arena.masks();
  return {{weights.begin(), weights.end()},
          {statistics.begin(), statistics.end()},
          {masks.begin(), masks.end()},
          run.trainer().state()};
}

TinyRun make_run(const std::filesystem::path& folder, Communicator& ranks,
                 const TrainOptions& options = TinyRun::tiny_options(),
                 std::vector<Hook*> hooks = {}) {
  return {folder, kPlan,          options,          22,   TinyRun::tiny_pruning(), TinyRun::kHash,
          {},     make_optimizer, std::move(hooks), ranks};
}

/// Runs the plan on one rank.
End run_alone(const TrainOptions& options = TinyRun::tiny_options()) {
  const TemporaryFolder folder;
  TinyRun run = make_run(folder.path(), one_rank(), options);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  return end_of(run);
}

/// Runs the plan on `size` ranks and returns the end on each.
std::vector<End> run_on(int size, const std::filesystem::path& folder,
                        const TrainOptions& options = TinyRun::tiny_options(), bool sync = true) {
  std::vector<End> ends(static_cast<size_t>(size));
  run_on_ranks(size, [&](Communicator& rank) {
    TinyRun run = make_run(folder, rank, options);
    run.network().graph().settings().sync_batch_norm = sync;
    run.trainer().start();
    if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
    ends[static_cast<size_t>(rank.rank())] = end_of(run);
  });
  return ends;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

void check_same_experiment(const End& end, const End& alone) {
  CHECK(end.masks == alone.masks);
  CHECK(largest_difference(end.weights, alone.weights) < 1e-4);
  CHECK(largest_difference(end.statistics, alone.statistics) < 1e-4);
  CHECK(end.state.steps == alone.state.steps);
  CHECK(end.state.images == alone.state.images);
  CHECK(end.state.test_accuracy == alone.state.test_accuracy);
  CHECK(end.state.test_loss == doctest::Approx(alone.state.test_loss).epsilon(1e-4));
  CHECK(end.state.train_loss == doctest::Approx(alone.state.train_loss).epsilon(1e-4));
}

}  // namespace

TEST_CASE("ranks: a run is the same experiment on any number of ranks") {
  for (const char* sparse : {"off", "on"}) {
    TrainOptions options = TinyRun::tiny_options();
    options.execution.sparse = sparse;
    const End alone = run_alone(options);
    // The last batch of an epoch has 6 images: on 7 ranks, one of them has none.
    for (const int size : {2, 3, 4, 7}) {
      CAPTURE(sparse);
      CAPTURE(size);
      const TemporaryFolder folder;
      const std::vector<End> ends = run_on(size, folder.path(), options);
      check_same_experiment(ends[0], alone);
      for (const End& end : ends) {
        CHECK(end.weights == ends[0].weights);
        CHECK(end.statistics == ends[0].statistics);
        CHECK(end.masks == ends[0].masks);
      }
      const auto masked = std::ranges::count(alone.masks, uint8_t{0});
      const auto summary = summary_of(folder.path());
      CHECK(summary["kept"].get<int64_t>() == summary["prunable"].get<int64_t>() - masked);
      CHECK(lines_of(RunFolder(folder.path()).metrics()).size() == 3);
    }
  }
}

TEST_CASE("ranks: after 50 steps, weights are those of one rank to 1e-5, with equal masks") {
  const Plan plan = {PruneStep{"magnitude", "global", 0.5}, Cycle{17}};  // 17 epochs of 3 steps
  const auto train = [&](Communicator& rank, const std::filesystem::path& folder) {
    TinyRun run{folder,         plan, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                TinyRun::kHash, {},   make_optimizer,          {}, rank};
    run.trainer().start();
    if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
    return end_of(run);
  };
  const TemporaryFolder folder;
  const End alone = train(one_rank(), folder.path() / "alone");
  for (const int size : {2, 3}) {
    std::vector<End> ends(static_cast<size_t>(size));
    run_on_ranks(size, [&](Communicator& rank) {
      ends[static_cast<size_t>(rank.rank())] = train(rank, folder.path() / std::to_string(size));
    });
    double apart = 0, length = 0;
    for (size_t i = 0; i < alone.weights.size(); ++i) {
      apart += std::pow(double{ends[0].weights[i]} - double{alone.weights[i]}, 2);
      length += std::pow(double{alone.weights[i]}, 2);
    }
    CAPTURE(size);
    CHECK(ends[0].masks == alone.masks);
    CHECK(std::sqrt(apart / length) < 1e-5);
  }
}

TEST_CASE("ranks: with batch norm on each rank's own images, all ranks end with the same network") {
  const TemporaryFolder folder;
  const std::vector<End> ends = run_on(2, folder.path(), TinyRun::tiny_options(), false);
  CHECK(ends[0].weights == ends[1].weights);
  CHECK(ends[0].statistics == ends[1].statistics);
  CHECK(largest_difference(ends[0].weights, run_alone().weights) > 1e-4);
}

TEST_CASE("ranks: a request to stop on one rank stops all, and another number of ranks goes on") {
  const End alone = run_alone();
  for (const int64_t stop : {int64_t{1}, int64_t{4}, kSteps - 1})
    for (const auto& [before, after] : {std::pair(3, 2), std::pair(2, 1), std::pair(1, 4)}) {
      CAPTURE(stop);
      CAPTURE(before);
      CAPTURE(after);
      const TemporaryFolder folder;
      run_on_ranks(before, [&](Communicator& rank) {
        TinyRun run = make_run(folder.path(), rank);
        if (rank.rank() == rank.size() - 1) run.stop_after_step(stop);
        run.trainer().start();
        if (run.trainer().run() != RunOutcome::interrupted) fail("the run did not stop");
        if (run.trainer().state().steps != stop) fail("step {}", run.trainer().state().steps);
      });
      std::vector<End> ends(static_cast<size_t>(after));
      run_on_ranks(after, [&](Communicator& rank) {
        TinyRun run = make_run(folder.path(), rank);
        std::vector<std::string> warnings;
        run.trainer().resume(warnings);
        if (!warnings.empty()) fail("{}", warnings.front());
        if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
        ends[static_cast<size_t>(rank.rank())] = end_of(run);
      });
      for (const End& end : ends)
        check_same_experiment(end, alone);
    }
}

TEST_CASE("ranks: the records do not tell where a run was interrupted") {
  constexpr int kRanks = 4;
  const auto metrics_of = [](const TemporaryFolder& folder) {
    return timeless(lines_of(RunFolder(folder.path()).metrics()));
  };
  const TemporaryFolder whole;
  run_on(kRanks, whole.path());
  for (int64_t stop = 1; stop < kSteps; ++stop) {
    CAPTURE(stop);
    const TemporaryFolder folder;
    run_on_ranks(kRanks, [&](Communicator& rank) {
      {
        TinyRun run = make_run(folder.path(), rank);
        run.stop_after_step(stop);
        run.trainer().start();
        if (run.trainer().run() != RunOutcome::interrupted) fail("the run did not stop");
      }
      TinyRun run = make_run(folder.path(), rank);
      std::vector<std::string> warnings;
      run.trainer().resume(warnings);
      if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
    });
    CHECK(metrics_of(folder) == metrics_of(whole));
  }
}

namespace {

/// Changes one weight of one rank after a step, as faulty memory does.
class Fault : public Hook {
 public:
  explicit Fault(bool here) : here_(here) {}
  std::string name() const override { return "fault"; }
  void after_step(HookContext& context) override {
    if (!here_ || context.state().steps != 2) return;
    ParameterArena& arena = context.network().parameters();
    arena.store_dense();
    for (const Parameter& p : arena.parameters())
      if (p.name == "bn2.weight") arena.edit_weights<float>()[static_cast<size_t>(p.offset)] += 1;
  }

 private:
  bool here_;
};

}  // namespace

TEST_CASE("ranks: a rank whose weights differ stops the run, which names the tensor and the rank") {
  const TemporaryFolder folder;
  std::vector<std::string> errors(3);
  run_on_ranks(3, [&](Communicator& rank) {
    Fault fault(rank.rank() == 2);
    TinyRun run = make_run(folder.path(), rank, TinyRun::tiny_options(), {&fault});
    run.trainer().start();
    try {
      run.trainer().run();
    } catch (const Error& error) {
      errors[static_cast<size_t>(rank.rank())] = error.what();
    }
  });
  for (const std::string& error : errors) {
    CAPTURE(error);
    CHECK(error.find("after epoch 1") != std::string::npos);
    CHECK(error.find("bn2.weight") != std::string::npos);
    CHECK(error.find("rank 2 on ") != std::string::npos);
    CHECK(error.find("rank 1 ") == std::string::npos);
  }
}
