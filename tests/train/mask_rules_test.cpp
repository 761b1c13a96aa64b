// Whole runs whose cycles have rules that change masks: against training by plain loops, resumed
// after every step, and in plans with prunes and several cycles.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <optional>

#include "engine/core/files.h"
#include "engine/core/phase.h"
#include "engine/masks/mask_rule.h"
#include "engine/run/run_folder.h"
#include "tests/support/needs.h"
#include "tests/support/rule_runs.h"
#include "tests/support/scored_networks.h"
#include "tests/support/shrink_and_grow.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::needs_cpu;
using Json = nlohmann::json;

namespace {

constexpr uint64_t kSeed = 5;  // of every TinyRun

/// SGD that shows the gradients of each step.
class ShowsGradients : public Optimizer {
 public:
  ShowsGradients(ParameterArena& arena, const OptimOptions& options, std::vector<double>& gradients)
      : Optimizer(arena, {"momentum"}),
        sgd_(make_optimizer(arena, options)),
        gradients_(gradients) {}

  void begin_step(double lr) override { sgd_->begin_step(lr); }
  void step() override {
    parameters().store_dense();
    const auto gradients = parameters().gradients<float>();
    gradients_.assign(gradients.begin(), gradients.end());
    sgd_->step();
  }

 private:
  std::unique_ptr<Optimizer> sgd_;
  std::vector<double>& gradients_;
};

/// Trains by plain loops in double beside the run, from the gradients that the network computes,
/// and compares masks, weights and momentum after every step.
class PlainTraining : public Hook {
 public:
  PlainTraining(PlainRule rule, double target, int64_t steps, const OptimOptions& optim)
      : rule_(std::move(rule)), target_(target), steps_(steps), optim_(optim) {}

  std::string name() const override { return "plain-training"; }
  void before_epoch(HookContext& context) override {
    if (context.state().steps == 0) {
      plain_ = PlainNetwork::of<float>(context.network().parameters());
      start_ = plain_.density();
      if (target_ == 0) target_ = start_;
    }
  }
  void after_step(HookContext& context) override {
    ParameterArena& arena = context.network().parameters();
    update(context.step().lr);
    const int64_t step = context.state().steps;
    if (rule_.changes(step, steps_)) {
      ++changes;
      std::vector<double> full(plain_.weight.size());
      if (find_mask_rule(rule_.name).reads_gradients)
        std::ranges::copy(arena.full_gradients().values<float>(), full.begin());
      else
        full = gradient;  // those of kept weights
      rule_.change(plain_, full, step, steps_, start_, target_, kSeed, step);
    }
    const PlainNetwork actual = PlainNetwork::of<float>(arena);
    wrong_masks += actual.mask != plain_.mask;
    for (size_t i = 0; i < actual.weight.size(); ++i)
      largest_difference =
          std::max({largest_difference, std::abs(actual.weight[i] - plain_.weight[i]),
                    std::abs(actual.momentum[i] - plain_.momentum[i])});
  }

  std::vector<double> gradient;  // of the step, from ShowsGradients
  int64_t changes = 0, wrong_masks = 0;
  double largest_difference = 0;

 private:
  void update(double lr) {
    for (size_t i = 0; i < gradient.size(); ++i) {
      double& momentum = plain_.momentum[i];
      momentum = optim_.momentum * momentum + gradient[i] + optim_.weight_decay * plain_.weight[i];
      plain_.weight[i] -= lr * momentum;
      if (plain_.mask[i] == 0) plain_.weight[i] = momentum = 0;
    }
  }

  PlainRule rule_;
  double start_ = 1, target_;
  int64_t steps_;
  OptimOptions optim_;
  PlainNetwork plain_;
};

/// Everything that a run leaves, without what depends on the clock.
std::string all_results_of(const std::filesystem::path& folder) {
  std::string text = results_of(folder);
  for (const Json& record : lines_of(RunFolder(folder).layers()))
    text += record.dump() + "\n";
  return text;
}

}  // namespace

TEST_CASE("mask rules: every rule has a case in the tests of runs, and changes when it should") {
  const std::vector<RuleCase> cases = rule_cases();
  for (const MaskRule& rule : mask_rules()) {
    CAPTURE(std::string(rule.name));
    if (rule.trains_thresholds) continue;  // tests/train/str_test.cpp
    const auto found = std::ranges::find_if(
        cases, [&](const RuleCase& candidate) { return candidate.rule.name == rule.name; });
    REQUIRE(found != cases.end());
    const MaskOptions options = options_of(found->rule);
    for (const int64_t steps : {20, 51}) {
      const PlainRule plain = in_steps(found->rule, steps);
      for (int64_t done = 1; done <= steps; ++done) {
        CAPTURE(done);
        CHECK(rule.changes_after({.done = done, .steps = steps}, options) ==
              plain.changes(done, steps));
      }
    }
  }
}

TEST_CASE(
    "mask rules: 51 steps of a run are those of plain loops, on sparse and on dense kernels") {
  const OneThread one;
  constexpr int64_t kEpochs = 17, kSteps = kEpochs * kStepsPerEpoch;
  for (const RuleCase& test : rule_cases())
    for (const std::string sparse : {"on", "off"}) {
      CAPTURE(test.rule.name);
      CAPTURE(sparse);
      TrainOptions options = TinyRun::tiny_options();
      options.execution.sparse = sparse;
      options.execution.step_graph = false;    // ShowsGradients works on the host
      options.execution.dense_timing = false;  // it would make optimizers of its own
      PlainTraining plain(in_steps(test.rule, kSteps), test.target, kSteps, options.optim);
      Examiner examiner;
      const TemporaryFolder folder;
      TinyRun run = run_of(folder.path(), plan_of(test, Cycle{kEpochs}), options_of(test.rule),
                           options, {&plain, &examiner}, one_rank(),
                           [&](ParameterArena& arena, const OptimOptions& optim) {
                             return std::make_unique<ShowsGradients>(arena, optim, plain.gradient);
                           });
      REQUIRE(start(run) == RunOutcome::finished);
      CHECK(plain.changes >= 5);
      CHECK(plain.wrong_masks == 0);
      CHECK(plain.largest_difference < 1e-5);
      CHECK(examiner.not_zero == 0);
    }
}

TEST_CASE("mask rules: interrupted after any step, a run ends with the same bytes") {
  const OneThread one;
  constexpr int64_t kEpochs = 3, kSteps = kEpochs * kStepsPerEpoch;
  for (const RuleCase& test : rule_cases()) {
    TrainOptions options = TinyRun::tiny_options();
    options.execution.sparse = "on";
    options.checkpoint_every = 2;
    const Plan plan = plan_of(test, Cycle{kEpochs});
    const MaskOptions masks = options_of(test.rule);
    const TemporaryFolder whole;
    {
      TinyRun run = run_of(whole.path(), plan, masks, options);
      REQUIRE(start(run) == RunOutcome::finished);
    }
    for (int64_t step = 1; step < kSteps; ++step) {
      CAPTURE(test.rule.name);
      CAPTURE(step);
      const TemporaryFolder folder;
      {
        TinyRun run = run_of(folder.path(), plan, masks, options);
        run.stop_after_step(step);
        REQUIRE(start(run) == RunOutcome::interrupted);
      }
      const auto state =
          safetensors::File::read(RunFolder(folder.path()).states().front().second, true);
      CHECK(state.metadata().count("hooks") == 0);  // the plan has the rule
      TinyRun run = run_of(folder.path(), plan, masks, options);
      REQUIRE(resume(run) == RunOutcome::finished);
      CHECK((all_results_of(folder.path()) == all_results_of(whole.path())));
    }
  }
}

namespace {

/// A plan like SCULPT's with rules in its cycles, one of which is entered late, and with a cycle
/// that begins sparser than it ends.
const Plan kManyRules = {PruneStep{"random", "erk", 0.5},
                         Cycle{3, 0, "rigl"},
                         Cycle{2},
                         Cycle{4, 2, "set"},
                         PruneStep{"magnitude", "global", 0.1},
                         RewindStep{2},
                         Cycle{4, 1, "acdc", 0.2},
                         Cycle{3, 0, "granet", 0.15},
                         Cycle{3, 1, "gmp", 0.1}};

MaskOptions many_options() {
  MaskOptions options;
  options.interval = 2;
  options.sparse_from = {0.1, 0.7};
  options.dense_from = {0.4};
  return options;
}

}  // namespace

TEST_CASE("mask rules: cycles with rules, without rules, entered late, and prunes between them") {
  const OneThread one;
  TrainOptions options = TinyRun::tiny_options();
  options.execution.sparse = "on";
  options.eval_every = 3;
  const auto session = [&](const std::filesystem::path& folder, bool goes_on, int64_t stop_at) {
    Examiner examiner;
    TinyRun run = run_of(folder, kManyRules, many_options(), options, {&examiner});
    run.stop_at_question(stop_at);
    const RunOutcome outcome = goes_on ? resume(run) : start(run);
    CHECK(examiner.not_zero == 0);
    return outcome;
  };
  const TemporaryFolder whole;
  REQUIRE(session(whole.path(), false, -1) == RunOutcome::finished);
  const std::string expected = all_results_of(whole.path());

  SUBCASE("densities and records") {
    const Json summary = summary_of(whole.path());
    const auto prunable = summary["prunable"].get<double>();
    CHECK(summary["kept"] == std::llround(0.1 * prunable));
    std::vector<double> density;
    for (const Json& line : lines_of(RunFolder(whole.path()).metrics()))
      density.push_back(std::round(line["density"].get<double>() * prunable));
    const auto kept = [&](double d) { return std::round(d * prunable); };
    REQUIRE(density.size() == 3 + 2 + 2 + 3 + 3 + 2);
    for (size_t epoch = 0; epoch < 7; ++epoch)
      CHECK(density[epoch] == kept(0.5));
    // Of acdc's phases, those from steps 5 and 8 of 12 remain. Epochs end at steps 6, 9 and 12.
    CHECK(density[7] == prunable);
    CHECK(density[8] == kept(0.2));
    CHECK(density[9] == kept(0.2));
    CHECK(density[12] == kept(0.15));
    CHECK(density[14] == kept(0.1));
    std::vector<std::string> makers;
    for (const Json& line : lines_of(RunFolder(whole.path()).layers())) {
      if (line["layer"] != "conv1.weight") continue;
      makers.push_back(line.contains("changed_by") ? line["changed_by"] : line["criterion"]);
    }
    CHECK(makers ==
          std::vector<std::string>{"random", "rigl", "set", "magnitude", "acdc", "granet", "gmp"});
  }
  SUBCASE("interrupted at moments in the whole plan") {
    bool interrupted = true;
    for (int64_t moment = 0; interrupted; moment += 7) {
      CAPTURE(moment);
      const TemporaryFolder folder;
      interrupted = session(folder.path(), false, moment) == RunOutcome::interrupted;
      if (interrupted) REQUIRE(session(folder.path(), true, -1) == RunOutcome::finished);
      CHECK((all_results_of(folder.path()) == expected));
      REQUIRE(moment < 400);
    }
  }
}

TEST_CASE("mask rules: changes of masks do not start the timing of dense kernels again" *
          needs_cpu()) {
  const auto state_of = [](const char* rule, double density) {
    MaskOptions masks;
    masks.interval = 1;
    TrainOptions options = TinyRun::tiny_options();
    options.execution.sparse = "on";
    const TemporaryFolder folder;
    TinyRun run =
        run_of(folder.path(), {PruneStep{"random", "uniform", 0.5}, Cycle{6, 0, rule, density}},
               masks, options);
    REQUIRE(start(run) == RunOutcome::finished);
    return run.trainer().state();
  };
  const RunState kept = state_of("rigl", 0);
  CHECK(kept.dense.sparse_steps == 6 * kStepsPerEpoch);
  CHECK(kept.dense.dense_seconds_before == 0);  // no change ended a measurement
  CHECK(kept.dense.measuring > 0);
  CHECK(std::isfinite(kept.dense.total()));
  // The time at each of many densities would need a measurement of its own, and none is made.
  const RunState changed = state_of("gmp", 0.2);
  CHECK(changed.dense.sparse_steps == 6 * kStepsPerEpoch);
  CHECK(std::isnan(changed.dense.total()));
  CHECK(changed.steps == 6 * kStepsPerEpoch);
}

TEST_CASE("mask rules: the chosen kernels follow masks that change, whatever chooses them") {
  for (const std::string sparse : {"auto", "on"}) {
    CAPTURE(sparse);
    TrainOptions options = TinyRun::tiny_options();
    options.execution.sparse = sparse;
    MaskOptions masks;
    masks.interval = 1;
    Examiner examiner;
    const TemporaryFolder folder;
    TinyRun run = run_of(folder.path(), {Cycle{4, 0, "gmp", 0.02}}, masks, options, {&examiner});
    REQUIRE(start(run) == RunOutcome::finished);
    CHECK(examiner.not_zero == 0);
    CHECK(std::ranges::is_sorted(examiner.kept, std::greater<>()));
    CHECK(run.network().skips_masked() == needs_cpu().met);
  }
}
