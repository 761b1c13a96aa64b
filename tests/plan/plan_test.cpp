#include "engine/plan/plan.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/plan/methods.h"

using namespace sculpt;
using Texts = std::vector<std::string>;

namespace {

MethodSettings settings_for(const char* method, int64_t epochs = 30) {
  MethodSettings s;
  s.method.method = method;
  s.epochs = epochs;
  return s;
}

Texts texts_of(const Plan& plan) {
  Texts texts;
  for (const auto& step : plan)
    texts.push_back(describe(step));
  return texts;
}

Texts expand(const MethodSettings& s) {
  return texts_of(expand_method(s));
}

}  // namespace

TEST_CASE("plan: dense, oneshot, pai and cyclic expand as defined") {
  MethodSettings s = settings_for("dense");
  s.cycles.count = 2;
  CHECK(expand(s) == Texts{"train 30", "train 30"});

  CHECK(expand(settings_for("oneshot")) ==
        Texts{"train 30", "prune magnitude global 0.1", "train 30"});

  s = settings_for("pai");
  s.prune.criterion = "snip";
  s.prune.allocation = "global";
  s.prune.sparsity = 0.95;
  CHECK(expand(s) == Texts{"prune snip global 0.05", "train 30"});

  s = settings_for("cyclic");
  s.prune.allocation = "erk";
  s.cycles.count = 3;
  s.cycles.spread = "linear_increase";
  s.cycles.total_epochs = 60;
  CHECK(expand(s) == Texts{"prune random erk 0.1", "train 10", "train 20", "train 30"});
}

TEST_CASE("plan: imp, wr and lrr descend the same ladder and land exactly on the target") {
  MethodSettings s = settings_for("lrr");
  s.prune.sparsity = 0.5;
  CHECK(expand(s) == Texts{"train 30", "prune magnitude global 0.8", "train 30",
                           "prune magnitude global 0.64", "train 30",
                           "prune magnitude global 0.512", "train 30", "prune magnitude global 0.5",
                           "train 30"});
  s = settings_for("imp");
  s.prune.sparsity = 0.36;
  s.prune.allocation = "uniform";
  CHECK(expand(s) == Texts{"train 30", "prune magnitude uniform 0.8", "rewind 0", "train 30",
                           "prune magnitude uniform 0.64", "rewind 0", "train 30"});
  s = settings_for("wr");
  s.prune.sparsity = 0.3;
  CHECK(expand(s) == Texts{"train 30", "prune magnitude global 0.8", "rewind 10", "train 30",
                           "prune magnitude global 0.7", "rewind 10", "train 30"});
  s.cycles.schedule_restart = "rewind_epoch";
  s.cycles.rewind_epoch = 7;
  CHECK(expand(s) == Texts{"train 30", "prune magnitude global 0.8", "rewind 7", "train 30 from 7",
                           "prune magnitude global 0.7", "rewind 7", "train 30 from 7"});
  CHECK(total_epochs(expand_method(s)) == 30 + 23 + 23);
}

TEST_CASE("plan: cyclic and sculpt can train as many cycles as the iterative methods") {
  const auto cycles = [](const MethodSettings& settings) {
    return std::ranges::count_if(expand_method(settings), [](const PlanStep& step) {
      return std::holds_alternative<Cycle>(step);
    });
  };
  for (const double sparsity : {0.6, 0.9, 0.99}) {
    CAPTURE(sparsity);
    MethodSettings s = settings_for("lrr");
    s.prune.sparsity = sparsity;
    const auto expected = cycles(s);
    CHECK(expected == 2 + static_cast<int>(std::log(1 - sparsity) / std::log(0.8)));
    for (const char* method : {"cyclic", "sculpt"}) {
      s.method.method = method;
      s.cycles.count = 0;
      for (const int64_t last : {1, 2}) {
        s.cycles.final = last;
        CHECK(cycles(s) == expected);
      }
    }
    s.method.method = "dense";
    CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("cycles.count to 1 or more"), Error);
  }
}

TEST_CASE("plan: the cycles of imp, wr and lrr can share a budget of epochs") {
  MethodSettings s = settings_for("lrr");
  s.prune.sparsity = 0.36;
  s.cycles.total_epochs = 20;
  CHECK(expand(s) == Texts{"train 7", "prune magnitude global 0.8", "train 7",
                           "prune magnitude global 0.64", "train 6"});
  s.cycles.spread = "linear_increase";
  s.cycles.total_epochs = 0;  // as many as without a budget
  CHECK(expand(s) == Texts{"train 15", "prune magnitude global 0.8", "train 30",
                           "prune magnitude global 0.64", "train 45"});
  for (const char* method : {"imp", "wr", "lrr"})
    for (const double sparsity : {0.5, 0.9, 0.98}) {
      CAPTURE(method);
      CAPTURE(sparsity);
      s = settings_for(method);
      s.prune.sparsity = sparsity;
      s.cycles.total_epochs = 97;
      s.cycles.rewind_epoch = 2;
      CHECK(total_epochs(expand_method(s)) == 97);
    }
  s.cycles.total_epochs = 3;
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("cycles.total_epochs"), Error);
  s = settings_for("wr");
  s.cycles.spread = "linear_increase";
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("cycles.rewind_epoch is 10"), Error);
}

TEST_CASE("plan: the ladder falls by the rate and ends once, exactly on the target") {
  for (const double rate : {0.05, 0.2, 0.5, 0.9})
    for (const double target : {0.9, 0.8, 0.64, 0.512, 0.25, 0.1, 0.05, 0.01, 0.001}) {
      CAPTURE(rate);
      CAPTURE(target);
      const auto ladder = density_ladder(rate, target);
      REQUIRE(!ladder.empty());
      CHECK(ladder.back() == target);
      double before = 1;
      for (size_t k = 0; k < ladder.size(); ++k) {
        CHECK(ladder[k] < before);
        if (k + 1 < ladder.size()) {
          CHECK(ladder[k] == doctest::Approx(before * (1 - rate)).epsilon(1e-9));
        } else {
          CHECK(ladder[k] >= before * (1 - rate) * (1 - 1e-9));
        }
        before = ladder[k];
      }
    }
}

TEST_CASE("plan: sculpt couples weights and mask once, by global magnitude") {
  MethodSettings s = settings_for("sculpt", 10);
  s.prune.criterion = "synflow";
  s.prune.allocation = "balanced";
  s.prune.initial_sparsity = 0.2;
  s.cycles.count = 2;
  s.cycles.final = 2;
  CHECK(expand(s) == Texts{"prune synflow balanced 0.8", "train 10", "train 10",
                           "prune magnitude global 0.1", "train 10", "train 10"});
  CHECK(cycle_count(expand_method(s)) == 4);
  s.prune.final_criterion = "snip";
  CHECK(expand(s)[3] == "prune snip global 0.1");
  s.prune.initial_sparsity = 0.9;
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("prune.initial_sparsity"), Error);
}

TEST_CASE("plan: every method expands to a plan that reads back as itself") {
  for (const Method& method : methods()) {
    CAPTURE(method.name);
    MethodSettings s;
    s.method.method = method.name;
    if (method.name == "custom")
      s.method.plan = {"train 5", "prune magnitude global 0.3", "rewind 2", "train 5 from 2"};
    s.epochs = 11;
    s.prune.sparsity = 0.937;
    const Plan plan = expand_method(s);
    const Texts texts = texts_of(plan);
    CHECK(parse_plan(texts) == plan);
    CHECK(total_epochs(plan) >= 8);
  }
}

TEST_CASE("plan: what the trainer asks of a plan") {
  const Texts texts = {"prune random erk 0.5",
                       "train 30",
                       "rewind 12",
                       "train 30 from 12",
                       "prune magnitude global 0.2",
                       "rewind 0",
                       "train 8",
                       "rewind 12",
                       "train 4"};
  const Plan plan = parse_plan(texts);
  CHECK(total_epochs(plan) == 30 + 18 + 8 + 4);
  CHECK(cycle_count(plan) == 4);
  CHECK(rewind_epochs(plan) == std::vector<int64_t>{0, 12});
  CHECK(densities(plan) == std::vector<double>{0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.2});
  CHECK(rewind_epoch_after(plan, 12) == 12);
  CHECK(rewind_epoch_after(parse_plan(Texts{"train 8 from 2"}), 3) == 5);
  CHECK(rewind_epoch_after(parse_plan(Texts{"train 8 from 2"}), 0) == 0);
}

TEST_CASE("plan: steps read with any spacing, and densities keep every bit") {
  CHECK(parse_plan_step("  prune  snip\terk 5e-2 ") == PlanStep(PruneStep{"snip", "erk", 0.05}));
  for (const double density : {1.0 / 3, 0.1, 1 - 0.9, 1e-5}) {
    for (const PlanStep& step : {PlanStep(PruneStep{"random", "global", density}),
                                 PlanStep(Cycle{30, 10, "gmp", density})})
      CHECK(parse_plan_step(describe(step)) == step);
  }
}

TEST_CASE("plan: cycles with rules and interventions read back as they are written") {
  const Texts texts = {"train 30 with rigl",
                       "train 30 from 10 with gmp to 0.1",
                       "reinit all",
                       "reinit keep signs",
                       "reinit keep magnitudes",
                       "shuffle mask",
                       "load weights from runs/a b/c",
                       "load mask from x.safetensors",
                       "load signs from from",
                       "load batch_norm from ../y"};
  for (const std::string& text : texts)
    CHECK(describe(parse_plan_step(text)) == text);
  CHECK(parse_plan_step(texts[0]) == PlanStep(Cycle{30, 0, "rigl"}));
  CHECK(parse_plan_step(texts[1]) == PlanStep(Cycle{30, 10, "gmp", 0.1}));
  CHECK(parse_plan_step(texts[3]) == PlanStep(Intervention{"reinit keep signs"}));
  CHECK(parse_plan_step("  load   weights\tfrom runs/a b/c  ") ==
        PlanStep(Intervention{"load weights", "runs/a b/c"}));
}

TEST_CASE("plan: densities follow rules and loaded masks") {
  const Plan plan = parse_plan(Texts{"train 5 with gmp to 0.5", "train 5 with set",
                                     "train 5 with acdc to 0.2", "train 5 with acdc to 0.4",
                                     "load mask from x", "prune magnitude global 0.9", "train 1"});
  const std::vector<double> found = densities(plan);
  CHECK(std::vector<double>(found.begin(), found.begin() + 4) ==
        std::vector<double>{0.5, 0.5, 0.2, 0.4});
  CHECK(std::isnan(found[4]));
  CHECK(found[5] == 0.9);
}

TEST_CASE("plan: masks.rule is the rule of all cycles of a method, where masks are pruned") {
  MethodSettings s = settings_for("lrr");
  s.prune.sparsity = 0.3;
  s.masks.rule = "rigl";
  CHECK(expand(s) == Texts{"train 30", "prune magnitude global 0.8", "train 30 with rigl",
                           "prune magnitude global 0.7", "train 30 with rigl"});
  s = settings_for("cyclic");
  s.cycles.count = 2;
  s.masks.rule = "set";
  CHECK(expand(s) == Texts{"prune random global 0.1", "train 30 with set", "train 30 with set"});
  s = settings_for("dense");
  s.cycles.count = 2;
  s.masks.rule = "acdc";
  CHECK(expand(s) == Texts{"train 30 with acdc to 0.1", "train 30 with acdc to 0.1"});
  s.masks.rule = "none";
  CHECK(expand(s) == Texts{"train 30", "train 30"});

  s.masks.rule = "rigl";
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("set a method that prunes"), Error);
  s = settings_for("sculpt");
  s.masks.rule = "gmp";
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("method = \"dense\""), Error);
  s = settings_for("custom");
  s.method.plan = {"train 3"};
  s.masks.rule = "gmp";
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("remove masks.rule"), Error);
}

TEST_CASE("plan: a plan that cannot work is refused, naming step and fix") {
  const struct {
    Texts plan;
    const char* message;
  } cases[] = {
      {{"train 5", "prun magnitude global 0.5"}, "step 2"},
      {{"prune magnitude 0.5"}, "prune CRITERION ALLOCATION DENSITY"},
      {{"prune magnitude global half", "train 1"}, "'half'"},
      {{"prune magnitude global 0.5x", "train 1"}, "'0.5x'"},
      {{"prune snap global 0.5", "train 1"}, "snip"},
      {{"prune snip globl 0.5", "train 1"}, "balanced"},
      {{"prune snip global 0", "train 1"}, "above 0"},
      {{"prune snip global nan", "train 1"}, "above 0"},
      {{"prune snip global 1.5", "train 1"}, "at most 1"},
      {{"prune snip global 0.2", "train 1", "prune magnitude global 0.3"}, "step 3"},
      {{"rewind 2", "train 5"}, "train first"},
      {{"train 5", "rewind 6", "train 1"}, "step 2"},
      {{"train 5", "rewind -1", "train 1"}, "negative"},
      {{"train 0"}, "at least 1 epoch"},
      {{"train 5 from 5"}, "cannot start"},
      {{"train 5 to 6"}, "is not understood"},
      {{"train 5 with"}, "is not understood"},
      {{"train 5 with gmp to"}, "is not understood"},
      {{"train 5 with gmp from 2"}, "is not understood"},
      {{"train 5 with gmp to half"}, "'half'"},
      {{"train 5 with gmp to 0"}, "above 0"},
      {{"train 5 with gmp to nan"}, "above 0"},
      {{"train 5 with gmp"}, "\"with gmp to 0.1\""},
      {{"train 5 with set to 0.5"}, "set keeps the density"},
      {{"train 5 with rigle"}, "did you mean"},
      {{"prune random global 0.2", "train 5 with gmp to 0.3"}, "gmp only lowers it"},
      {{"prune random global 0.2", "train 5 with acdc to 0.1", "prune random global 0.2",
        "train 1"},
       "step 3"},
      {{"reinit", "train 1"}, "\"reinit all\""},
      {{"reinit keep", "train 1"}, "is not understood"},
      {{"reinit all of it", "train 1"}, "is not understood"},
      {{"shuffle", "train 1"}, "is not understood"},
      {{"load weights", "train 1"}, "from PATH"},
      {{"load weights from", "train 1"}, "from PATH"},
      {{"lod weights from x", "train 1"}, "did you mean \"load\""},
      {{"load mask from x"}, "trains nothing"},
      {{""}, "is not understood"},
      {{"prune random global 0.5"}, "trains nothing"},
      {{}, "trains nothing"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.message);
    CHECK_THROWS_WITH_AS(parse_plan(c.plan), doctest::Contains(c.message), Error);
  }
}

TEST_CASE("plan: settings that contradict each other are refused") {
  MethodSettings s = settings_for("wr", 10);
  CHECK_THROWS_WITH_AS(expand_method(s),
                       doctest::Contains("cycles.rewind_epoch below the epochs of every cycle"),
                       Error);
  s = settings_for("cyclic");
  s.cycles.count = 5;
  s.cycles.total_epochs = 4;
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("cycles.total_epochs"), Error);
  s = settings_for("custom");
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("needs a plan"), Error);
  s = settings_for("lrr");
  s.method.plan = {"train 1"};
  CHECK_THROWS_WITH_AS(expand_method(s), doctest::Contains("custom"), Error);
  CHECK_THROWS_WITH_AS(expand_method(settings_for("lr")), doctest::Contains("lrr"), Error);
}

TEST_CASE("plan: epochs between prunes") {
  const PruneStep prune{"magnitude", "global", 0.5};
  const Plan plan = {Cycle{3}, prune, RewindStep{0}, Cycle{5, 2}, Cycle{1}, prune};
  CHECK(epochs_between_prunes(plan, 0) == std::vector<int64_t>{3, 4, 0});
  CHECK(epochs_between_prunes(plan, 1) == std::vector<int64_t>{0, 4, 0});
  CHECK(epochs_between_prunes(plan, 4) == std::vector<int64_t>{1, 0});
  CHECK(epochs_between_prunes(plan, 6) == std::vector<int64_t>{0});
}
