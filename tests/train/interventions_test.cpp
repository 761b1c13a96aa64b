// Whole runs with interventions: what they leave, the same bytes after an interruption at any
// moment, several ranks, and the extension of a finished run.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/checkpoint.h"
#include "engine/run/run_folder.h"
#include "engine/train/agreement.h"
#include "tests/support/run_results.h"
#include "tests/support/thread_ranks.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

namespace fs = std::filesystem;

Plan plan_of(const std::vector<std::string>& texts) {
  return parse_plan(texts);
}

RunOutcome run_whole(const fs::path& folder, const Plan& plan) {
  TinyRun run(folder, plan);
  run.trainer().start();
  return run.trainer().run();
}

/// Runs a network to the end of a sparse cycle, as a file to load.
void make_source(const fs::path& folder) {
  const Plan plan = {PruneStep{"random", "uniform", 0.4}, Cycle{1}};
  TinyRun run(folder, plan);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
}

/// All verbs, between cycles, before the first one and after the last one.
Plan all_verbs(const fs::path& source) {
  const std::string from = " from " + source.string();
  return plan_of({"prune magnitude global 0.6", "shuffle mask", "train 2", "reinit keep signs",
                  "load batch_norm" + from, "train 1", "load mask" + from, "load weights" + from,
                  "train 1", "prune magnitude global 0.2", "reinit keep magnitudes",
                  "load signs" + from, "train 1", "reinit all"});
}

}  // namespace

TEST_CASE("interventions: interrupted anywhere, the run ends with the same bytes") {
  const TemporaryFolder folder;
  make_source(folder / "source");
  const Plan plan = all_verbs(folder / "source");
  REQUIRE(run_whole(folder / "whole", plan) == RunOutcome::finished);
  const std::string expected = results_of(folder / "whole");
  int64_t moment = 0;
  for (bool interrupted = true; interrupted; ++moment) {
    CAPTURE(moment);
    const fs::path cut = folder / fmt::format("cut{}", moment);
    TinyRun first(cut, plan);
    first.stop_at_question(moment);
    first.trainer().start();
    interrupted = first.trainer().run() == RunOutcome::interrupted;
    if (interrupted) {
      TinyRun second(cut, plan);
      std::vector<std::string> warnings;
      second.trainer().resume(warnings);
      CHECK(warnings.empty());
      REQUIRE(second.trainer().run() == RunOutcome::finished);
    }
    CHECK(results_of(cut) == expected);
  }
  CHECK(moment > 20);
}

TEST_CASE("interventions: a plan of them alone, before the first cycle, is that of its parts") {
  // "reinit all" before training is a run from another initialisation, under the same mask.
  const TemporaryFolder folder;
  const Plan plan = plan_of({"prune random uniform 0.5", "reinit all", "train 1"});
  TinyRun run(folder.path(), plan);
  run.trainer().start();
  run.stop_before_plan_step(2);
  REQUIRE(run.trainer().run() == RunOutcome::interrupted);
  ParameterArena& arena = run.network().parameters();
  arena.store_dense();
  const std::vector<float> initial = run.network().initial_weights(5);
  int64_t same = 0, kept = 0;
  for (const Parameter& p : arena.parameters())
    for (auto i = static_cast<size_t>(p.offset);
         p.prunable && i < static_cast<size_t>(p.offset + p.count); ++i) {
      kept += arena.masks()[i];
      same += arena.masks()[i] != 0 && arena.weights<float>()[i] == initial[i];
    }
  CHECK(kept == 213);  // round(0.5 * 426)
  CHECK(same == 0);
}

TEST_CASE("interventions: a loaded network is the one of the file, and its mask is trained") {
  const TemporaryFolder folder;
  make_source(folder / "source");
  const std::string from = " from " + (folder / "source").string();
  const Plan plan =
      plan_of({"load mask" + from, "load weights" + from, "load batch_norm" + from, "train 1"});
  {
    TinyRun run(folder / "run", plan);
    run.trainer().start();
    run.stop_before_plan_step(3);
    REQUIRE(run.trainer().run() == RunOutcome::interrupted);
    TinyRun other(folder / "source", {PruneStep{"random", "uniform", 0.4}, Cycle{1}});
    read_checkpoint(safetensors::File::read(RunFolder(folder / "source").final_checkpoint(), true),
                    other.network().parameters(), {.masks = true, .optimizer = false});
    ParameterArena& mine = run.network().parameters();
    ParameterArena& theirs = other.network().parameters();
    mine.store_dense();
    CHECK(std::ranges::equal(mine.weights<float>(), theirs.weights<float>()));
    CHECK(std::ranges::equal(mine.state_values<float>(), theirs.state_values<float>()));
    CHECK(std::ranges::equal(mine.masks(), theirs.masks()));
    CHECK(mine.batches_tracked == theirs.batches_tracked);
  }
  TinyRun again(folder / "run", plan);
  std::vector<std::string> warnings;
  again.trainer().resume(warnings);
  REQUIRE(again.trainer().run() == RunOutcome::finished);
  CHECK(summary_of(folder / "run")["kept"] == 170);  // round(0.4 * 426)
}

TEST_CASE("interventions: several ranks train the same network, and rank 0 alone reads files") {
  const TemporaryFolder folder;
  make_source(folder / "source");
  const Plan plan = all_verbs(folder / "source");
  REQUIRE(run_whole(folder / "alone", plan) == RunOutcome::finished);
  run_on_ranks(2, [&](Communicator& rank) {
    TinyRun run(folder / "ranks", plan, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                TinyRun::kHash, {}, make_optimizer, {}, rank);
    run.trainer().start();
    if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
    // Throws if the ranks differ.
    require_same_parameters(rank, run.network().parameters(), "at the end");
  });
  CHECK(summary_of(folder / "ranks")["kept"] == summary_of(folder / "alone")["kept"]);
}

TEST_CASE("interventions: a finished run is extended by them, bit for bit") {
  const TemporaryFolder folder;
  make_source(folder / "source");
  const Plan plan = all_verbs(folder / "source");
  REQUIRE(run_whole(folder / "whole", plan) == RunOutcome::finished);
  for (const size_t steps : {3, 6, 9}) {
    CAPTURE(steps);
    const Plan done(plan.begin(), plan.begin() + static_cast<std::ptrdiff_t>(steps));
    const fs::path path = folder / fmt::format("short{}", steps);
    REQUIRE(run_whole(path, done) == RunOutcome::finished);
    TinyRun run(path, plan, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                "bbbbbbbbbbbbbbbb");
    run.store().require_extensible(done, TinyRun::kHash, plan);
    run.store().extend(run.network().parameters(), TinyRun::kHash, "");
    std::vector<std::string> warnings;
    run.trainer().resume(warnings);
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    CHECK(timeless({summary_of(path)}) == timeless({summary_of(folder / "whole")}));
    CHECK(timeless(lines_of(RunFolder(path).metrics())) ==
          timeless(lines_of(RunFolder(folder / "whole").metrics())));
  }
  Plan other = plan;
  other[3] = Intervention{"reinit all"};
  CHECK(difference_from_extension(plan, other) ==
        "the plans differ from step 4 on: \"reinit keep signs\" was done, \"reinit all\" is in the "
        "config now");
}

TEST_CASE("interventions: the mean density is that over the training steps") {
  const TemporaryFolder folder;
  const Plan plan = plan_of({"train 1", "prune magnitude global 0.5", "train 2"});
  REQUIRE(run_whole(folder.path(), plan) == RunOutcome::finished);
  CHECK(summary_of(folder.path())["density_mean"].get<double>() ==
        doctest::Approx((1.0 + 2 * 0.5) / 3).epsilon(1e-12));
}

TEST_CASE(
    "kept fan: prunes before the first cycle scale each neuron's weights, later ones do not") {
  const TemporaryFolder folder;
  PruneOptions options = TinyRun::tiny_pruning();
  options.rescale_to_kept_fan = true;
  const Plan plan = plan_of({"prune random global 0.6", "prune random erk 0.3", "train 1",
                             "prune magnitude global 0.2", "reinit all", "train 1"});
  TinyRun run(folder.path(), plan, TinyRun::tiny_options(), 22, options);
  run.trainer().start();
  run.stop_before_plan_step(2);
  REQUIRE(run.trainer().run() == RunOutcome::interrupted);
  ParameterArena& arena = run.network().parameters();
  arena.store_dense();
  const std::vector<float> initial = run.network().initial_weights(5);
  int64_t scaled = 0;
  for (const Parameter& p : arena.parameters()) {
    const int64_t fan = p.prunable ? p.count / p.shape[0] : 1;
    for (int64_t neuron = 0; neuron < p.count / fan; ++neuron) {
      int64_t kept = 0;
      for (int64_t k = 0; k < fan; ++k)
        kept += arena.masks()[static_cast<size_t>(p.offset + neuron * fan + k)];
      for (int64_t k = 0; k < fan; ++k) {
        const auto i = static_cast<size_t>(p.offset + neuron * fan + k);
        const double factor = std::sqrt(static_cast<double>(fan) / static_cast<double>(kept));
        const double expected = arena.masks()[i] != 0 ? double{initial[i]} * factor : 0;
        CHECK(arena.weights<float>()[i] == doctest::Approx(expected).epsilon(1e-6));
        scaled += expected != 0 && factor > 1;
      }
    }
  }
  CHECK(scaled > 100);

  // A neuron that keeps nothing gives no value that is not a number. Later prunes only remove.
  TinyRun again(folder.path(), plan, TinyRun::tiny_options(), 22, options);
  std::vector<std::string> warnings;
  again.trainer().resume(warnings);
  again.stop_before_plan_step(3);
  REQUIRE(again.trainer().run() == RunOutcome::interrupted);
  ParameterArena& trained = again.network().parameters();
  trained.store_dense();
  const std::vector<float> before(trained.weights<float>().begin(), trained.weights<float>().end());
  TinyRun last(folder.path(), plan, TinyRun::tiny_options(), 22, options);
  last.trainer().resume(warnings);
  last.stop_before_plan_step(4);
  REQUIRE(last.trainer().run() == RunOutcome::interrupted);
  ParameterArena& pruned = last.network().parameters();
  pruned.store_dense();
  for (size_t i = 0; i < before.size(); ++i)
    CHECK(pruned.weights<float>()[i] == (pruned.masks()[i] != 0 ? before[i] : 0.f));
}
