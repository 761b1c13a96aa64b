// Dense timing estimates the time of a run on dense kernels. The tests check the sums, that
// measuring does not change the run, when measuring ends, and that a resumed run keeps the
// measurements.

#include "engine/train/hooks/dense_timing.h"

#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <sys/mman.h>

#include "engine/core/memory_use.h"
#include "tests/support/needs.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::needs_cpu;
using Json = nlohmann::json;

namespace {

// 3 steps an epoch.
const Plan kPlan = {Cycle{1}, PruneStep{"magnitude", "uniform", 0.4},
                    Cycle{2}, PruneStep{"magnitude", "uniform", 0.2},
                    Cycle{1}, Cycle{2}};
constexpr int64_t kDenseSteps = 3, kSparseSteps = 15;

test::Needs needs_restartable_peak() {
  return {std::ofstream("/proc/self/clear_refs").is_open(),
          "a system that lets a process restart its peak of memory"};
}

struct Finished {
  std::vector<std::byte> weights;
  RunState state;
  Json summary;
};

Finished finish(bool measure, SparseKernels sparse) {
  TemporaryFolder folder;
  TrainOptions options = TinyRun::tiny_options();
  options.execution.dense_timing = measure;
  TinyRun run(folder.path(), kPlan, options);
  run.network().graph().replay().sparse = sparse;
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  return {final_of(folder.path()), run.trainer().state(), summary_of(folder.path())};
}

}  // namespace

TEST_CASE("dense timing: seconds of every mask count by its own ratio") {
  DenseSeconds dense;
  CHECK(dense.total() == 0);
  dense.masks_change();  // before the first step
  CHECK(dense.total() == 0);
  dense.seconds_current_mask = 2;
  dense.ratio = 1;
  dense.masks_change();
  CHECK(std::isnan(dense.ratio));
  dense.seconds_current_mask = 3;
  CHECK(std::isnan(dense.total()));
  dense.ratio = 1.5;
  CHECK(dense.total() == 2 + 4.5);
  dense.masks_change();
  dense.seconds_current_mask = 1;
  dense.ratio = 4;
  CHECK(dense.total() == 2 + 4.5 + 4);
  // Seconds of a mask that was not measured make the sum unknown for the rest of the run.
  dense.ratio = NAN;
  dense.masks_change();
  dense.seconds_current_mask = 1;
  dense.ratio = 2;
  CHECK(std::isnan(dense.total()));
}

TEST_CASE("dense timing: a run that measures ends with the same bytes, and knows more" *
          needs_cpu()) {
  const Finished measured = finish(true, SparseKernels::on);
  const Finished plain = finish(false, SparseKernels::on);
  CHECK((measured.weights == plain.weights));

  CHECK(measured.state.dense.sparse_steps == kSparseSteps);
  CHECK(measured.state.dense.measuring > 0);
  CHECK(measured.state.dense.ratio > 0);
  const Json& summary = measured.summary;
  CHECK(summary["sparse_steps"] == kSparseSteps);
  CHECK(summary["train_seconds_dense"].get<double>() == measured.state.dense.total());
  // Everything except the training steps took the same time.
  const double others =
      measured.state.seconds - measured.state.dense.measuring - measured.state.train_seconds;
  CHECK(others > 0);
  CHECK(summary["seconds_dense"].get<double>() - measured.state.dense.total() ==
        doctest::Approx(others).epsilon(1e-9));

  CHECK(plain.summary["sparse_steps"] == kSparseSteps);
  CHECK(plain.summary["seconds_dense"].is_null());
  CHECK(plain.summary["train_seconds_dense"].is_null());
  CHECK(plain.summary["seconds_measuring_dense"] == 0);
}

TEST_CASE("dense timing: nothing is timed where the sum could not become known" * needs_cpu()) {
  const PruneStep first{"magnitude", "uniform", 0.4}, second{"magnitude", "uniform", 0.2};
  // 2 steps an epoch; 3 are needed with each mask.
  const auto state_after = [](const Plan& plan) {
    TemporaryFolder folder;
    TinyRun run(folder.path(), plan, TinyRun::tiny_options(), 16);
    run.network().graph().replay().sparse = SparseKernels::on;
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    return run.trainer().state();
  };
  for (const Plan& plan : {Plan{first, Cycle{1}},                       // too few steps at once
                           Plan{first, Cycle{2}, second, Cycle{1}},     // with a later mask
                           Plan{first, Cycle{1}, second, Cycle{2}}}) {  // with an earlier one
    const RunState state = state_after(plan);
    CHECK(state.dense.sparse_steps == 2 * total_epochs(plan));
    CHECK(state.dense.measuring == 0);
    CHECK(std::isnan(state.dense.total()));
  }
  for (const Plan& plan :
       {Plan{first, Cycle{1}, Cycle{1}}, Plan{first, Cycle{2}, second, Cycle{2}},
        Plan{Cycle{1}, first, second, Cycle{2}}, Plan{first, Cycle{2}, second}}) {
    const RunState state = state_after(plan);
    CHECK(state.dense.measuring > 0);
    CHECK(state.dense.total() > 0);
  }
}

TEST_CASE("dense timing: without sparse kernels there is nothing to compare") {
  const Finished dense = finish(true, SparseKernels::off);
  CHECK(dense.state.dense.sparse_steps == 0);
  CHECK(dense.state.dense.measuring == 0);
  CHECK(dense.state.dense.ratio == 1);
  CHECK(dense.state.dense.total() == doctest::Approx(dense.state.train_seconds));
  CHECK(dense.summary["seconds_dense"].is_null());
}

TEST_CASE("dense timing: a resumed run keeps what was measured" * needs_cpu()) {
  TemporaryFolder folder;
  DenseSeconds before;
  {
    TinyRun run(folder.path(), kPlan);
    run.stop_after_step(kDenseSteps + 5);
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::interrupted);
    REQUIRE(run.trainer().state().steps == kDenseSteps + 5);
    before = run.trainer().state().dense;
    REQUIRE(before.dense_seconds_before > 0);
    REQUIRE(before.seconds_current_mask > 0);
    REQUIRE(before.ratio > 0);
    REQUIRE(before.sparse_steps == 5);
  }
  TinyRun run(folder.path(), kPlan);
  std::vector<std::string> warnings;
  run.trainer().resume(warnings);
  const DenseSeconds& now = run.trainer().state().dense;
  CHECK(now.dense_seconds_before == before.dense_seconds_before);
  CHECK(now.seconds_current_mask == before.seconds_current_mask);
  CHECK(now.ratio == before.ratio);
  CHECK(now.measuring == before.measuring);
  CHECK(now.sparse_steps == before.sparse_steps);
  // Nothing is measured again until the mask changes.
  run.stop_after_step(kDenseSteps + 6);
  REQUIRE(run.trainer().run() == RunOutcome::interrupted);
  REQUIRE(run.trainer().state().steps == kDenseSteps + 6);
  CHECK(now.ratio == before.ratio);
  CHECK(now.measuring == before.measuring);
  CHECK(now.seconds_current_mask > before.seconds_current_mask);
}

TEST_CASE("dense timing: comparing ends when it has cost enough") {
  Network network(tiny_spec(), kernels::cpu_backend(), 8);
  network.initialise(1);
  const OptimOptions optim;
  // The steps of the run took very long, so all comparisons are cheap.
  DenseTiming cheap(network, make_optimizer, optim, 1000);
  CHECK(std::isnan(cheap.ratio()));
  CHECK_FALSE(cheap.done());
  cheap.compare(8, 1e6);
  CHECK_FALSE(cheap.done());
  cheap.compare(8, 1e9);
  CHECK_FALSE(cheap.done());
  cheap.compare(5, 1e3);
  CHECK(cheap.done());
  CHECK(cheap.comparisons() == 3);
  CHECK(cheap.ratio() > 0);
  CHECK(cheap.ratio() < 1e-6);  // the median, of a network whose steps take less than a second
  CHECK(cheap.ratio() > 1e-12);

  DenseTiming dear(network, make_optimizer, optim, 1000);
  dear.compare(8, 1e-9);
  CHECK(dear.done());
  CHECK(dear.ratio() > 1);
  CHECK(network.parameters().batches_tracked == 0);
}

TEST_CASE("dense timing: the peak of memory can begin anew" * needs_restartable_peak()) {
  const int64_t before = peak_memory_bytes();
  constexpr size_t kBytes = size_t{256} << 20;
  void* block = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(block != MAP_FAILED);
  std::memset(block, 1, kBytes);
  const int64_t peak = peak_memory_bytes();
  CHECK(peak >= static_cast<int64_t>(kBytes));
  munmap(block, kBytes);
  CHECK(peak_memory_bytes() > peak - static_cast<int64_t>(kBytes) / 8);  // counted in batches
  restart_peak_memory();
  CHECK(peak_memory_bytes() < std::max(before, peak - static_cast<int64_t>(kBytes) / 2));
}
