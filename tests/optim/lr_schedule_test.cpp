#include "engine/optim/lr_schedule.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <set>
#include <string>

#include "engine/core/error.h"

using namespace sculpt;

namespace {

OptimOptions options_for(const char* schedule) {
  OptimOptions o;
  o.schedule = schedule;
  o.lr = 0.1;
  return o;
}

struct Row {
  const char* schedule;
  int64_t steps;
  double warmup;
  int64_t step;
  double factor;  ///< learning rate / lr, worked out by hand
};

const Row kRows[] = {
    // 150 epochs of 2 steps: warm-up for 10 epochs, drops at epochs 60 and 120.
    {"step_warmup", 300, 10.0 / 150, 0, 0.1},
    {"step_warmup", 300, 10.0 / 150, 10, 0.55},
    {"step_warmup", 300, 10.0 / 150, 20, 1},
    {"step_warmup", 300, 10.0 / 150, 119, 1},
    {"step_warmup", 300, 10.0 / 150, 120, 0.1},
    {"step_warmup", 300, 10.0 / 150, 239, 0.1},
    {"step_warmup", 300, 10.0 / 150, 240, 0.01},
    {"step_warmup", 300, 10.0 / 150, 299, 0.01},
    {"step_warmup", 10, 0, 0, 1},
    {"triangular", 100, 0.5, 0, 0.2},
    {"triangular", 100, 0.5, 10, 0.6},
    {"triangular", 100, 0.5, 20, 1},
    {"triangular", 100, 0.5, 60, 0.5},
    {"triangular", 100, 0.5, 99, 0.0125},
    {"cosine", 100, 0.1, 0, 0.1},
    {"cosine", 100, 0.1, 5, 0.55},
    {"cosine", 100, 0.1, 10, 1},
    {"cosine", 100, 0.1, 40, 0.75},  // a third of the way: (1 + cos 60) / 2
    {"cosine", 100, 0.1, 55, 0.5},
    {"cosine", 100, 0.1, 70, 0.25},
    {"one_cycle", 20, 0, 0, 0.04},
    {"one_cycle", 20, 0, 3, 0.52},
    {"one_cycle", 20, 0, 6, 1},
    {"one_cycle", 20, 0, 13, 0.500002},
    {"trapezoidal", 100, 0.1, 0, 0.1},
    {"trapezoidal", 100, 0.1, 5, 0.55},
    {"trapezoidal", 100, 0.1, 50, 1},
    {"trapezoidal", 100, 0.1, 80, 1},
    {"trapezoidal", 100, 0.1, 90, 0.5},
    {"trapezoidal", 100, 0.1, 99, 0.05},
    {"constant", 7, 0.1, 0, 1},
    {"constant", 7, 0.1, 6, 1},
    {"linear", 100, 0.1, 0, 1},
    {"linear", 100, 0.1, 25, 0.75},
    {"linear", 100, 0.1, 99, 0.01},
};

}  // namespace

TEST_CASE("learning rate: every schedule gives the rates worked out by hand") {
  std::set<std::string> tested;
  for (const Row& row : kRows) {
    OptimOptions o = options_for(row.schedule);
    o.warmup = row.warmup;
    CAPTURE(row.schedule);
    CAPTURE(row.step);
    CHECK(learning_rate(row.step, row.steps, o) == doctest::Approx(0.1 * row.factor).epsilon(1e-9));
    tested.insert(row.schedule);
  }
  for (const auto& name : lr_schedule_names()) {
    CAPTURE(name);
    CHECK(tested.count(name) == 1);
  }
}

TEST_CASE("learning rate: every schedule stays in (0, lr] for every length, one step included") {
  for (const auto& name : lr_schedule_names())
    for (const int64_t steps : {1, 2, 3, 7, 150, 1001})
      for (int64_t step = 0; step < steps; ++step) {
        const double lr = learning_rate(step, steps, options_for(name.c_str()));
        const bool inside = lr > 0 && lr <= 0.1 * (1 + 1e-12);
        if (!inside) {
          CAPTURE(name);
          CAPTURE(steps);
          CAPTURE(step);
          CHECK(lr > 0);
          CHECK(lr <= 0.1 * (1 + 1e-12));
        }
      }
}

TEST_CASE("learning rate: step_warmup drops at the same epochs whatever the steps per epoch") {
  for (const int64_t per_epoch : {1, 98, 195, 391}) {
    const OptimOptions o = options_for("step_warmup");
    CHECK(learning_rate(60 * per_epoch - 1, 150 * per_epoch, o) == doctest::Approx(0.1));
    CHECK(learning_rate(60 * per_epoch, 150 * per_epoch, o) == doctest::Approx(0.01));
    CHECK(learning_rate(120 * per_epoch, 150 * per_epoch, o) == doctest::Approx(0.001));
  }
}

TEST_CASE("learning rate: settings that make no sense are refused") {
  CHECK_THROWS_WITH_AS(learning_rate(0, 10, options_for("cosin")),
                       doctest::Contains("step_warmup, triangular, cosine"), Error);
  CHECK_THROWS_AS(learning_rate(10, 10, options_for("cosine")), Error);
  OptimOptions o;
  o.milestones = {0.8, 0.4};
  CHECK_THROWS_WITH_AS(validate(o), doctest::Contains("milestones"), Error);
  o = options_for("trapezoidal");
  o.warmup = 0.9;
  CHECK_THROWS_WITH_AS(validate(o), doctest::Contains("cooldown"), Error);
  CHECK_NOTHROW(validate(OptimOptions()));
}
