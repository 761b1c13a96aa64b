// Hooks around steps and epochs: their order, what they keep in checkpoints, and how they end a
// run.

#include <algorithm>
#include <doctest/doctest.h>
#include <iterator>

#include "engine/core/phase.h"
#include "engine/train/hooks/hook.h"
#include "tests/support/hooked_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// Writes its calls into a log.
class Recorder : public Hook {
 public:
  Recorder(std::string name, std::vector<std::string>& log) : name_(std::move(name)), log_(log) {}

  std::string name() const override { return name_; }
  void before_plan_step(const PlanStep&, HookContext&) override { add("plan step"); }
  void before_epoch(HookContext& context) override {
    CHECK(context.state().epoch_step == 0);
    add("before epoch");
  }
  void before_step(HookContext& context) override {
    CHECK(context.step().seconds == 0);
    CHECK(context.step().lr > 0);
    steps_ = context.state().steps;
    add("before step");
  }
  void after_step(HookContext& context) override {
    const RunState& state = context.state();
    CHECK(state.steps == steps_ + 1);
    CHECK(context.step().images == (context.step().last_of_epoch ? kImages % kBatch : kBatch));
    // The trainer's own hooks have seen the step.
    CHECK(context.step().seconds > 0);
    if (!on_device() || context.step().last_of_epoch) CHECK(state.sums.loss > 0);
    CHECK(state.sums.seconds > 0);
    CHECK(state.dense.seconds_current_mask > 0);
    add("after step");
  }
  void after_epoch(HookContext& context) override {
    CHECK(context.state().test_accuracy >= 0);
    CHECK(context.state().epoch_step == 0);
    add("after epoch");
  }
  void masks_changed(HookContext&) override { add("masks"); }
  void at_end(HookContext&) override { add("end"); }

 private:
  void add(const char* what) { log_.push_back(name_ + ": " + what); }

  std::string name_;
  std::vector<std::string>& log_;
  int64_t steps_ = 0;
};

/// "x" for every hook, in the order of the list or the reverse one.
void expect_each(std::vector<std::string>& log, const char* what, bool reverse) {
  for (const char* name : {reverse ? "b" : "a", reverse ? "a" : "b"})
    log.push_back(fmt::format("{}: {}", name, what));
}

std::vector<std::string> expected_epoch() {
  std::vector<std::string> log;
  expect_each(log, "before epoch", true);
  for (int64_t step = 0; step < kStepsPerEpoch; ++step) {
    expect_each(log, "before step", true);
    expect_each(log, "after step", false);
  }
  expect_each(log, "after epoch", false);
  return log;
}

}  // namespace

TEST_CASE("hooks: called in the order of the list after a step, in the reverse order before it") {
  const TemporaryFolder folder;
  std::vector<std::string> log, expected;
  Recorder a("a", log), b("b", log);
  TinyRun run = run_with(folder.path(), {PruneStep{"random", "uniform", 0.5}, Cycle{2}}, {&a, &b});
  REQUIRE(start(run) == RunOutcome::finished);

  expect_each(expected, "plan step", true);
  expect_each(expected, "masks", false);
  expect_each(expected, "plan step", true);
  for (int epoch = 0; epoch < 2; ++epoch)
    std::ranges::copy(expected_epoch(), std::back_inserter(expected));
  expect_each(expected, "end", false);
  CHECK(log == expected);
}

TEST_CASE("hooks: every step and epoch is announced once, however often a run is interrupted") {
  for (int64_t step = 1; step <= kStepsPerEpoch; ++step) {
    CAPTURE(step);
    const TemporaryFolder folder;
    std::vector<std::string> log;
    Recorder a("a", log), b("b", log);
    {
      TinyRun run = run_with(folder.path(), {Cycle{1}}, {&a, &b});
      run.stop_after_step(step);
      REQUIRE(start(run) == RunOutcome::interrupted);
    }
    TinyRun run = run_with(folder.path(), {Cycle{1}}, {&a, &b});
    REQUIRE(resume(run) == RunOutcome::finished);
    std::erase_if(log, [](const std::string& line) {
      return line.ends_with("plan step") || line.ends_with("end");
    });
    CHECK(log == expected_epoch());
  }
}

TEST_CASE("hooks: names must be usable and different, and a resumed run has the same hooks") {
  const TemporaryFolder folder;
  std::vector<std::string> log;
  Recorder a("a", log), also_a("a", log), bad("a b", log), none("", log),
      dense("dense-timing", log);
  CHECK(error_of([&] {
          run_with(folder / "x", {Cycle{1}}, {&a, &also_a});
        }) == "two hooks are called 'a'");
  CHECK(error_of([&] { run_with(folder / "x", {Cycle{1}}, {&dense}); }) ==
        "two hooks are called 'dense-timing'");
  for (Recorder* hook : {&bad, &none})
    CHECK(contains(error_of([&] { run_with(folder / "x", {Cycle{1}}, {hook}); }),
                   fmt::format("a hook is called '{}'", hook->name())));

  {
    TinyRun run = run_with(folder / "run", {Cycle{1}}, {&a});
    run.stop_after_step(1);
    REQUIRE(start(run) == RunOutcome::interrupted);
  }
  Recorder b("b", log);
  for (const std::vector<Hook*>& hooks : {std::vector<Hook*>{}, {&b}, {&a, &b}}) {
    TinyRun run = run_with(folder / "run", {Cycle{1}}, hooks);
    std::vector<std::string> warnings;
    const std::string message = error_of([&] { run.trainer().resume(warnings); });
    CAPTURE(message);
    CHECK(contains(message, "a run with the hooks [a], and this run has ["));
  }
  TinyRun run = run_with(folder / "run", {Cycle{1}}, {&a});
  CHECK(resume(run) == RunOutcome::finished);
}

namespace {

/// Remembers texts.
class Keeper : public Hook {
 public:
  Keeper(std::string name, HookValues kept) : values(std::move(kept)), name_(std::move(name)) {}
  std::string name() const override { return name_; }
  HookValues save() const override { return values; }
  void restore(const HookValues& saved) override { restored = saved; }

  HookValues values, restored;

 private:
  std::string name_;
};

}  // namespace

TEST_CASE("hooks: what a hook remembers comes back, whatever the texts are") {
  const TemporaryFolder folder;
  const HookValues first = {{"a.b", "1 2\n\"3\""}, {"empty", ""}}, second = {{"x", "y"}};
  Keeper none("k", {}), one("keeper", first), two("keeper-2", second);
  TinyRun run = run_with(folder.path(), {Cycle{1}}, {&two, &none, &one});
  run.stop_after_step(2);
  REQUIRE(start(run) == RunOutcome::interrupted);

  Keeper none_again("k", {{"old", ""}}), one_again("keeper", {}), two_again("keeper-2", {});
  TinyRun again = run_with(folder.path(), {Cycle{1}}, {&none_again, &one_again, &two_again});
  std::vector<std::string> warnings;
  again.trainer().resume(warnings);
  CHECK(one_again.restored == first);
  CHECK(two_again.restored == second);
  CHECK(none_again.restored.empty());
}

namespace {

/// Ends the session in a certain call, once in the life of the object.
class Ender : public Hook {
 public:
  enum class Way { stop, interrupt };
  enum class Call { before_step, after_step, after_epoch };
  Ender(Way way, Call call, int64_t steps) : way_(way), call_(call), steps_(steps) {}

  std::string name() const override { return "ender"; }
  void before_step(HookContext& context) override { end(Call::before_step, context); }
  void after_step(HookContext& context) override { end(Call::after_step, context); }
  void after_epoch(HookContext& context) override { end(Call::after_epoch, context); }

 private:
  void end(Call call, HookContext& context) {
    if (ended_ || call != call_ || context.state().steps != steps_) return;
    ended_ = true;
    if (way_ == Way::interrupt) throw Interrupted();
    context.stop();
  }

  Way way_;
  Call call_;
  int64_t steps_;
  bool ended_ = false;
};

}  // namespace

TEST_CASE("hooks: a run that a hook ends can be resumed and ends with the same bytes") {
  const Plan plan = {Cycle{2}};
  const TemporaryFolder whole;
  TinyRun reference(whole.path(), plan);
  REQUIRE(start(reference) == RunOutcome::finished);
  using Way = Ender::Way;
  using Call = Ender::Call;
  struct Case {
    Way way;
    Call call;
    int64_t steps, saved_steps;  // steps done at the call, and those that the checkpoint has
  };
  for (const Case& c :
       {Case{Way::stop, Call::before_step, 4, 5}, Case{Way::stop, Call::after_step, 4, 4},
        Case{Way::stop, Call::after_step, 6, 6}, Case{Way::stop, Call::after_epoch, 3, 3},
        Case{Way::stop, Call::after_epoch, 6, 6}, Case{Way::interrupt, Call::before_step, 4, 3},
        Case{Way::interrupt, Call::after_step, 5, 3}, Case{Way::interrupt, Call::after_step, 2, 0},
        Case{Way::interrupt, Call::after_epoch, 6, 3}}) {
    CAPTURE(static_cast<int>(c.way));
    CAPTURE(static_cast<int>(c.call));
    CAPTURE(c.steps);
    const TemporaryFolder folder;
    Ender ender(c.way, c.call, c.steps);
    {
      TinyRun run = run_with(folder.path(), plan, {&ender});
      REQUIRE(start(run) == RunOutcome::interrupted);
      REQUIRE(run.store().newest_good_state());
      CHECK(run.store().newest_good_state()->second.steps == c.saved_steps);
    }
    TinyRun run = run_with(folder.path(), plan, {&ender});
    REQUIRE(resume(run) == RunOutcome::finished);
    CHECK((results_of(folder.path()) == results_of(whole.path())));
  }
}
