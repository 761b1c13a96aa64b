#pragma once
// Short runs of a tiny network with each of the rules that change masks.

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/masks/mask_options.h"
#include "tests/support/hooked_run.h"
#include "tests/support/plain_rules.h"

namespace sculpt::testing {

struct RuleCase {
  PlainRule rule;
  double start = 1;   // density before the cycle; 1: no prune
  double target = 0;  // 0: the rule keeps the density
};

/// A case for each rule, except for str, whose masks follow trained thresholds. The changes come so
/// often that short cycles have several of them.
inline std::vector<RuleCase> rule_cases() {
  return {{{.name = "gmp", .interval = 2, .begin = 0.1, .end = 0.7}, 1, 0.15},
          {{.name = "granet", .interval = 2, .drop = 0.5, .begin = 0, .end = 0.8}, 0.8, 0.2},
          {{.name = "set", .interval = 2, .drop = 0.3, .end = 0.75}, 0.4, 0},
          {{.name = "rigl", .interval = 2, .drop = 0.4, .end = 0.75}, 0.4, 0},
          {{.name = "itop", .interval = 3, .drop = 0.5, .end = 1}, 0.3, 0},
          {{.name = "acdc"}, 1, 0.2}};
}

/// The phases of acdc, as fractions of a schedule.
inline const std::vector<double> kSparseFrom = {0.1, 0.45, 0.8}, kDenseFrom = {0.3, 0.6};

inline MaskOptions options_of(const PlainRule& rule) {
  MaskOptions options;
  options.interval = rule.interval;
  options.drop = rule.drop;
  options.begin = rule.begin;
  options.end = rule.end;
  options.sparse_from = kSparseFrom;
  options.dense_from = kDenseFrom;
  return options;
}

/// The rule in a schedule of so many steps.
inline PlainRule in_steps(PlainRule rule, int64_t steps) {
  for (const double f : kSparseFrom)
    rule.sparse_at.push_back(std::lround(f * static_cast<double>(steps)));
  for (const double f : kDenseFrom)
    rule.dense_at.push_back(std::lround(f * static_cast<double>(steps)));
  return rule;
}

inline Plan plan_of(const RuleCase& test, Cycle cycle) {
  cycle.rule = test.rule.name;
  cycle.density = test.target;
  if (test.start == 1) return {cycle};
  return {PruneStep{"random", "erk", test.start}, cycle};
}

inline TinyRun run_of(const std::filesystem::path& folder, const Plan& plan,
                      const MaskOptions& masks,
                      const TrainOptions& options = TinyRun::tiny_options(),
                      std::vector<Hook*> hooks = {}, Communicator& ranks = one_rank(),
                      const OptimizerMaker& optimizer = make_optimizer) {
  return {folder,         plan, options,   kImages,          TinyRun::tiny_pruning(),
          TinyRun::kHash, {},   optimizer, std::move(hooks), ranks,
          masks};
}

}  // namespace sculpt::testing
