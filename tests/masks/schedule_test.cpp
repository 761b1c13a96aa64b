// When rules change masks, to which density, and what is said before a run.

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/masks/mask_checks.h"
#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// The steps after which a rule changes masks, of a cycle of so many steps.
std::vector<int64_t> steps_of(const char* rule, int64_t steps, const MaskOptions& options = {},
                              int64_t first = 0) {
  std::vector<int64_t> found;
  for (int64_t done = first + 1; done <= steps; ++done)
    if (find_mask_rule(rule).changes_after({.done = done, .steps = steps, .first = first}, options))
      found.push_back(done);
  return found;
}

double density(const char* rule, int64_t done, int64_t steps, DensityRange range,
               const MaskOptions& options = {}) {
  return find_mask_rule(rule).density_after({.done = done, .steps = steps}, range, options);
}

using Steps = std::vector<int64_t>;

}  // namespace

TEST_CASE("mask schedules: the rules' own constants") {
  CHECK(steps_of("rigl", 1000) == Steps{100, 200, 300, 400, 500, 600, 700});
  CHECK(steps_of("set", 800) == Steps{100, 200, 300, 400, 500});
  CHECK(steps_of("itop", 13000) == Steps{4000, 8000, 12000});
  CHECK(steps_of("gmp", 460) == Steps{100, 200, 300, 345});
  CHECK(steps_of("granet", 800) == Steps{100, 200, 300, 400, 500, 600});
  CHECK(steps_of("acdc", 200) == Steps{10, 30, 50, 70, 90, 110, 130, 150, 170});
  CHECK(steps_of("str", 200) == Steps{180});
}

TEST_CASE("mask schedules: the config's constants, and cycles that are entered late") {
  MaskOptions options;
  options.interval = 30;
  options.begin = 0.1;
  options.end = 0.6;
  CHECK(steps_of("gmp", 200, options) == Steps{50, 80, 110, 120});
  CHECK(steps_of("gmp", 200, options, 80) == Steps{110, 120});
  CHECK(steps_of("rigl", 200, options) == Steps{30, 60, 90});
  options.sparse_from = {0.2, 0.7};
  options.dense_from = {0.4};
  CHECK(steps_of("acdc", 10, options) == Steps{2, 4, 7});
  CHECK(steps_of("acdc", 10, options, 4) == Steps{7});
  // Phases that begin after the same step: the last one counts.
  CHECK(steps_of("acdc", 2, options) == Steps{1});
  CHECK(density("acdc", 1, 2, {1, 0.1}, options) == 0.1);
}

TEST_CASE("mask schedules: densities by hand") {
  // The window of 1000 steps is 0 to 750, and 300 is two fifths of it: 1 - 0.9 (1 - 0.6^3).
  CHECK(density("gmp", 99, 1000, {1, 0.1}) == 1);
  CHECK(density("gmp", 300, 1000, {1, 0.1}) == doctest::Approx(0.2944).epsilon(1e-12));
  CHECK(density("gmp", 399, 1000, {1, 0.1}) == density("gmp", 300, 1000, {1, 0.1}));
  CHECK(density("gmp", 750, 1000, {1, 0.1}) == 0.1);
  CHECK(density("granet", 300, 1000, {0.5, 0.1}) == doctest::Approx(0.1864).epsilon(1e-12));
  CHECK(density("rigl", 300, 1000, {0.5, 0.5}) == 0.5);
  CHECK(density("acdc", 9, 200, {1, 0.1}) == 1);
  CHECK(density("acdc", 10, 200, {1, 0.1}) == 0.1);
  CHECK(density("acdc", 30, 200, {1, 0.1}) == 1);
  CHECK(density("acdc", 200, 200, {1, 0.1}) == 0.1);
  CHECK(density("acdc", 10, 200, {0.05, 0.1}) == 0.05);
  CHECK(density("acdc", 200, 200, {0.05, 0.1}) == 0.1);
}

TEST_CASE("mask checks: settings that no cycle can use") {
  const auto error_with = [](auto edit) {
    MaskOptions options;
    edit(options);
    return error_of([&] { validate(options); });
  };
  CHECK(error_with([](MaskOptions&) {}).empty());
  CHECK(contains(error_with([](MaskOptions& o) { o.dense_from = {0.3}; }), "masks.sparse_from"));
  CHECK(contains(error_with([](MaskOptions& o) { o.sparse_from = {0.1}, o.dense_from = {0.3}; }),
                 "one more than masks.dense_from"));
  CHECK(contains(error_with([](MaskOptions& o) {
                   o.sparse_from = {0.1, 0.2}, o.dense_from = {0.3};
                 }),
                 "masks.dense_from has 0.3 where it should lie between 0.1 and 0.2"));
  CHECK(error_with([](MaskOptions& o) {
          o.sparse_from = {0.1, 0.5}, o.dense_from = {0.3};
        }).empty());
}

TEST_CASE("mask checks: a rule that cannot reach its density is an error before the run") {
  const auto error_in = [](const char* rule, const RuleCycle& cycle, MaskOptions options = {}) {
    return error_of([&] { require_reachable(find_mask_rule(rule), cycle, options); });
  };
  const RuleCycle whole = {.steps = 200, .first = 0, .range = {1, 0.1}};
  CHECK(contains(error_in("gmp", whole, {.begin = 0.6, .end = 0.5}),
                 "masks.begin = 0.6 is not below masks.end = 0.5"));
  CHECK(contains(error_in("granet", whole, {.begin = 0.8}), "masks.begin = 0.8"));
  CHECK(error_in("acdc", whole, {.begin = 0.8}).empty());  // acdc has no such window
  CHECK(contains(error_in("acdc", {.steps = 200, .first = 180, .range = {1, 0.1}}),
                 "its last sparse phase begins before that"));
  // The dense phase and the sparse phase after it begin after the same step, so no phase is dense.
  CHECK(contains(error_in("acdc", {.steps = 10, .first = 0, .range = {0.05, 0.1}},
                          {.sparse_from = {0.2, 0.9}, .dense_from = {0.899}}),
                 "acdc ends with density 0.05 instead of 0.1"));
  CHECK(error_in("gmp", {.steps = 40, .first = 0, .range = {1, 0.1}}).empty());
  CHECK(error_in("gmp", {.steps = 40, .first = 29, .range = {1, 0.1}}).empty());
  CHECK(contains(error_in("gmp", {.steps = 40, .first = 30, .range = {1, 0.1}}),
                 "gmp ends with density 1 instead of 0.1: the cycle begins at step 30 of 40"));
  CHECK(contains(error_in("acdc", {.steps = 200, .first = 160, .range = {0.05, 0.1}}),
                 "acdc ends with density 0.05 instead of 0.1"));
  CHECK(error_in("acdc", {.steps = 200, .first = 140, .range = {0.05, 0.1}}).empty());
  CHECK(error_in("rigl", {.steps = 5, .first = 0, .range = {0.5, 0.5}}).empty());
  CHECK(error_in("str", {.steps = 40, .first = 35, .range = {1, 0.1}}).empty());
  CHECK(contains(error_in("str", {.steps = 40, .first = 36, .range = {1, 0.1}}),
                 "the last prune comes before that; raise masks.end"));
}

TEST_CASE("mask checks: few changes are a warning whose advice gives more") {
  const auto warning = [](const char* rule, int64_t steps, MaskOptions options = {}) {
    return few_changes_warning(find_mask_rule(rule),
                               {.steps = steps, .first = 0, .range = {1, 0.1}}, options);
  };
  CHECK(warning("rigl", 1000) ==
        "rigl changes masks only 7 times in 1000 steps; masks.interval = 20 would give 37 changes");
  CHECK(warning("rigl", 2800).empty());  // 20 changes, up to step 2000
  CHECK(contains(warning("rigl", 2600), "only 19 times"));
  MaskOptions options;
  options.interval = 20;
  CHECK(warning("rigl", 1000, options).empty());
  CHECK(warning("gmp", 4) ==
        "gmp changes masks only 1 time in 4 steps; masks.interval = 1 would "
        "give 3 changes");
  CHECK(warning("acdc", 200).empty());
}

TEST_CASE("mask rules: an unknown name is an error with the nearest one") {
  CHECK(contains(error_of([] { find_mask_rule("rigel"); }), "rigl"));
}
