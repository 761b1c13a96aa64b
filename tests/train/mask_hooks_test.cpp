// Hooks that change masks in the middle of a cycle: exact zeros, kernels, records, dense timing,
// and the same bytes after an interruption at any moment.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <optional>

#include "engine/core/phase.h"
#include "engine/run/run_folder.h"
#include "engine/sparse/prune.h"
#include "tests/support/hooked_run.h"
#include "tests/support/looks.h"
#include "tests/support/needs.h"
#include "tests/support/plain_adam.h"
#include "tests/support/shrink_and_grow.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::needs_cpu;
using sculpt::test::needs_gpu;
using Json = nlohmann::json;

namespace {

const Plan kPruned = {PruneStep{"random", "uniform", 0.5}, Cycle{4}};
constexpr int64_t kShrink = 5, kGrow = 8, kSteps = 4 * kStepsPerEpoch;

struct Grown {
  std::vector<float> weights;
  std::vector<float> regrown;  // values of the weights that were kept again
  Examiner examiner;
  RunState state;
  std::vector<Json> metrics;
  Json summary;
  int64_t prunable = 0;
};

Grown shrink_and_grow(const char* sparse, const OptimizerMaker& optimizer,
                      int64_t grow_after = kGrow) {
  const TemporaryFolder folder;
  Grown result;
  ShrinkAndGrow changer(kShrink, grow_after);
  TrainOptions options = TinyRun::tiny_options();
  options.execution.step_graph = false;  // PlainAdam works on the host
  options.optim.lr = 0.02;
  options.execution.sparse = sparse;
  TinyRun run = run_with(folder.path(), kPruned, {&changer, &result.examiner}, options, optimizer);
  REQUIRE(start(run) == RunOutcome::finished);
  ParameterArena& arena = run.network().parameters();
  const auto weights = arena.weights<float>();
  result.weights.assign(weights.begin(), weights.end());
  std::vector<const Parameter*> layers;
  for (const Parameter& p : arena.parameters())
    if (p.prunable) layers.push_back(&p);
  for (const auto& [layer, i] : changer.grown)
    result.regrown.push_back(ParameterArena::slice(weights, *layers[layer])[i]);
  result.state = run.trainer().state();
  result.metrics = lines_of(RunFolder(folder.path()).metrics());
  result.summary = summary_of(folder.path());
  result.prunable = arena.prunable_count();
  return result;
}

}  // namespace

TEST_CASE("mask hooks: masked weights and all arrays of the optimizer are +0, and kernels follow") {
  for (const OptimizerMaker& optimizer :
       {OptimizerMaker(make_optimizer), OptimizerMaker(plain_adam)}) {
    const Grown sparse = shrink_and_grow("on", optimizer);
    CHECK(sparse.examiner.not_zero == 0);
    const int64_t sparse_steps = needs_cpu().met ? kSteps : 0;
    CHECK(sparse.examiner.skipping == sparse_steps);
    CHECK(sparse.examiner.all_sparse == 3 * sparse_steps);  // three layers

    const Grown dense = shrink_and_grow("off", optimizer);
    CHECK(dense.examiner.not_zero == 0);
    CHECK(dense.examiner.skipping == 0);
    CHECK(dense.examiner.masked_gradients > 0);  // methods that grow by gradients read these
    CHECK(dense.examiner.kept == sparse.examiner.kept);
    // Weights that are kept again start at 0. Kernels that did not know them would leave them
    // there. Dense kernels know all weights; some weights of units whose ReLU is never open stay 0.
    REQUIRE(!sparse.regrown.empty());
    const auto at_zero = std::ranges::count(dense.regrown, 0.f);
    CHECK(std::ranges::count(sparse.regrown, 0.f) == at_zero);
    CHECK(at_zero * 2 < std::ssize(sparse.regrown));
    double largest = 0;
    for (size_t i = 0; i < dense.weights.size(); ++i)
      largest = std::max(largest, std::abs(double{dense.weights[i]} - double{sparse.weights[i]}));
    CHECK(largest < 2e-3);
  }
}

TEST_CASE("mask hooks: records have the density and the cost of the masks that a hook made") {
  const Grown run = shrink_and_grow("auto", make_optimizer);
  const int64_t full = run.examiner.kept.front();
  const int64_t fewer = run.examiner.kept[kShrink];
  REQUIRE(fewer < full);
  for (int64_t step = 1; step <= kSteps; ++step) {
    const bool shrunk = step >= kShrink && step < kGrow;
    CHECK(run.examiner.kept[static_cast<size_t>(step - 1)] == (shrunk ? fewer : full));
  }
  REQUIRE(run.metrics.size() == 4);
  for (size_t epoch = 0; epoch < 4; ++epoch) {
    const int64_t kept = run.examiner.kept[(epoch + 1) * kStepsPerEpoch - 1];
    CHECK(run.metrics[epoch]["density"] ==
          static_cast<double>(kept) / static_cast<double>(run.prunable));
  }
  CHECK(run.metrics[1]["density"] < run.metrics[0]["density"]);
  CHECK(run.summary["kept"] == full);
  CHECK(run.summary["train_flops"].get<double>() ==
        doctest::Approx(run.examiner.flops).epsilon(1e-12));
}

TEST_CASE("mask hooks: without sparse kernels all steps count as dense, whatever a hook masks" *
          needs_gpu()) {
  const Grown run = shrink_and_grow("on", make_optimizer);
  CHECK(run.state.dense.sparse_steps == 0);
  CHECK(run.state.dense.total() == doctest::Approx(run.state.train_seconds));
}

TEST_CASE("mask hooks: dense timing starts again with the masks that a hook made" * needs_cpu()) {
  const Grown known = shrink_and_grow("on", make_optimizer);
  CHECK(known.state.dense.sparse_steps == kSteps);
  CHECK(known.state.dense.measuring > 0);
  CHECK(known.state.dense.dense_seconds_before > 0);
  CHECK(known.state.dense.seconds_current_mask < known.state.train_seconds);
  CHECK(known.state.dense.total() > 0);
  // A mask of one step cannot be measured, and so the sum cannot be known.
  const Grown unknown = shrink_and_grow("on", make_optimizer, kShrink + 1);
  CHECK(std::isnan(unknown.state.dense.total()));
  CHECK(unknown.summary["train_seconds_dense"].is_null());
}

TEST_CASE(
    "mask hooks: interrupted anywhere, a run whose hook changes masks ends with the same bytes") {
  TrainOptions options = TinyRun::tiny_options();
  options.optim.weight_decay = 0.01;
  options.checkpoint_every = 2;
  options.execution.sparse = "on";
  const auto session = [&](const std::filesystem::path& folder, bool goes_on, const auto& prepare) {
    ShrinkAndGrow changer(kShrink, kGrow);
    Examiner examiner;
    TinyRun run = run_with(folder, kPruned, {&changer, &examiner}, options);
    prepare(run);
    const RunOutcome outcome = goes_on ? resume(run) : start(run);
    CHECK(examiner.not_zero == 0);
    return outcome;
  };
  const auto whole_session = [](TinyRun&) {};
  const TemporaryFolder whole;
  REQUIRE(session(whole.path(), false, whole_session) == RunOutcome::finished);
  const std::string expected = results_of(whole.path());

  SUBCASE("after steps: before, between and after the changes") {
    for (const int64_t step : {4, 5, 6, 7, 8, 9}) {
      CAPTURE(step);
      const TemporaryFolder folder;
      const auto stop = [&](TinyRun& run) { run.stop_after_step(step); };
      REQUIRE(session(folder.path(), false, stop) == RunOutcome::interrupted);
      const RunFolder files(folder.path());
      const auto state = safetensors::File::read(files.states().front().second, true);
      CHECK(state.metadata("hooks") == "examiner shrink-and-grow");
      CHECK(state.metadata().count("hook.shrink-and-grow.removed") == (step >= kShrink));
      REQUIRE(session(folder.path(), true, whole_session) == RunOutcome::finished);
      CHECK((results_of(folder.path()) == expected));
    }
  }
  SUBCASE("at every moment at which the trainer asks, and once more") {
    bool interrupted = true;
    for (int64_t moment = 0; interrupted; moment += 3) {
      CAPTURE(moment);
      const TemporaryFolder folder;
      const auto stop = [&](TinyRun& run) { run.stop_at_question(moment); };
      const auto again = [&](TinyRun& run) { run.stop_at_question(moment % 5); };
      interrupted = session(folder.path(), false, stop) == RunOutcome::interrupted;
      if (interrupted && session(folder.path(), true, again) == RunOutcome::interrupted)
        session(folder.path(), true, whole_session);
      CHECK((results_of(folder.path()) == expected));
      REQUIRE(moment < 200);
    }
  }
  SUBCASE("within phases, the choice of kernels for the new masks among them") {
    int64_t looks = 0, choosing = 0;
    {
      const TemporaryFolder folder;
      const Looks counter;
      session(folder.path(), false, whole_session);
      looks = counter.looks;
      choosing = static_cast<int64_t>(counter.names.count("choosing the layers' kernels"));
    }
    REQUIRE(choosing == 1);
    for (int64_t moment = 0; moment < looks; moment += 1 + looks / 16) {
      CAPTURE(moment);
      const TemporaryFolder folder;
      {
        const Looks stop(moment);
        // Timing of dense kernels takes as many steps as there is time for, so the last looks may
        // be missing.
        if (session(folder.path(), false, whole_session) == RunOutcome::finished) continue;
        CHECK(stop.looks == moment + 1);  // nothing long went on after it
      }
      REQUIRE(session(folder.path(), true, whole_session) == RunOutcome::finished);
      CHECK((results_of(folder.path()) == expected));
    }
  }
}

namespace {

/// Interrupts the choice of kernels.
class InterruptsChoice : public PhaseWatcher {
 public:
  InterruptsChoice() : before_(watch_phases(this)) {}
  ~InterruptsChoice() override { watch_phases(before_); }
  void on_phase(const PhaseState& phase) override {
    if (phase.name == "choosing the layers' kernels") throw Interrupted();
  }
  void on_phase_end(const PhaseState&) override {}

 private:
  PhaseWatcher* const before_;
};

/// Prunes after a step, and lets the choice of kernels that follows be interrupted.
class PrunesInterrupted : public Hook {
 public:
  PrunesInterrupted(int64_t step, bool interrupt) : step_(step), interrupt_(interrupt) {}
  std::string name() const override { return "pruner"; }
  void after_step(HookContext& context) override {
    if (context.state().steps != step_) return;
    prune(context.score_context(), PruneStep{"magnitude", "global", 0.3});
    if (interrupt_) watcher_.emplace();
  }

 private:
  int64_t step_;
  bool interrupt_;
  std::optional<InterruptsChoice> watcher_;
};

}  // namespace

TEST_CASE(
    "mask hooks: where the choice of kernels is interrupted, the step and its masks are saved") {
  const Plan plan = {Cycle{2}};
  constexpr int64_t kStep = 4;
  const TemporaryFolder whole, folder;
  {
    PrunesInterrupted pruner(kStep, false);
    TinyRun run = run_with(whole.path(), plan, {&pruner});
    REQUIRE(start(run) == RunOutcome::finished);
  }
  {
    PrunesInterrupted pruner(kStep, true);
    TinyRun run = run_with(folder.path(), plan, {&pruner});
    REQUIRE(start(run) == RunOutcome::interrupted);
    CHECK(run.store().newest_good_state()->second.steps == kStep);
  }
  PrunesInterrupted pruner(kStep, false);
  TinyRun run = run_with(folder.path(), plan, {&pruner});
  REQUIRE(resume(run) == RunOutcome::finished);
  CHECK((results_of(folder.path()) == results_of(whole.path())));
}

namespace {

/// Prunes by magnitude after an epoch.
class Pruner : public Hook {
 public:
  Pruner(int64_t after_epoch, double density) : epoch_(after_epoch), density_(density) {}
  std::string name() const override { return "pruner"; }
  void after_epoch(HookContext& context) override {
    if (context.state().epochs != epoch_) return;
    prune(context.score_context(), PruneStep{"magnitude", "global", density_});
  }

 private:
  int64_t epoch_;
  double density_;
};

}  // namespace

TEST_CASE("mask hooks: the best accuracy is that since a hook last changed the density") {
  const auto results_with = [](double density, std::vector<Json>& metrics) {
    const TemporaryFolder folder;
    Pruner pruner(8, density);
    TinyRun run = run_with(folder.path(), {Cycle{12}}, {&pruner});
    REQUIRE(start(run) == RunOutcome::finished);
    metrics = lines_of(RunFolder(folder.path()).metrics());
    return summary_of(folder.path());
  };
  const auto best_of = [](const std::vector<Json>& metrics, size_t first, size_t last) {
    double best = -1;
    for (size_t i = first; i < last; ++i)
      best = std::max(best, metrics[i]["test_accuracy"].get<double>());
    return best;
  };
  std::vector<Json> metrics;
  const Json pruned = results_with(0.02, metrics);
  REQUIRE(metrics.size() == 12);
  REQUIRE(best_of(metrics, 0, 8) > best_of(metrics, 8, 12));  // or the test says nothing
  CHECK(metrics[7]["density"] == 1.0);
  CHECK(metrics[8]["density"] < 0.03);
  CHECK(pruned["best_test_accuracy_at_final_density"] == best_of(metrics, 8, 12));
  CHECK(pruned["best_epoch_at_final_density"] > 8);
  // Masks that keep as many weights as before change no density.
  const Json same = results_with(1, metrics);
  CHECK(same["best_test_accuracy_at_final_density"] == best_of(metrics, 0, 12));
  REQUIRE(best_of(metrics, 0, 8) == best_of(metrics, 0, 12));  // or the next line says nothing
  CHECK(same["best_epoch_at_final_density"] <= 8);
}

namespace {

/// Changes a mask where that is not possible.
class Wrong : public Hook {
 public:
  explicit Wrong(bool of_bias) : of_bias_(of_bias) {}
  std::string name() const override { return "wrong"; }
  void after_step(HookContext& context) override {
    if (!of_bias_) return;
    ParameterArena& arena = context.network().parameters();
    arena.edit_masks([&](std::span<uint8_t> masks) {
      for (const Parameter& p : arena.parameters())
        if (!p.prunable) ParameterArena::slice(masks, p)[0] = 0;
    });
  }
  void at_end(HookContext& context) override {
    if (!of_bias_)
      context.network().parameters().edit_masks([](std::span<uint8_t> masks) { masks[0] ^= 1; });
  }

 private:
  bool of_bias_;
};

}  // namespace

TEST_CASE("mask hooks: changes of masks that cannot be followed are errors that name the hook") {
  const TemporaryFolder folder;
  Wrong of_bias(true), late(false);
  TinyRun bias = run_with(folder / "bias", {Cycle{1}}, {&of_bias});
  CHECK(contains(error_of([&] { start(bias); }),
                 "a mask has masked elements of 'bn1.weight', which cannot be pruned"));
  TinyRun end = run_with(folder / "end", {Cycle{1}}, {&late});
  CHECK(contains(error_of([&] { start(end); }),
                 "hook 'wrong' changed masks in at_end, where it may only look"));
}
