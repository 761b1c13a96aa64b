#include "engine/plan/methods.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engine/core/error.h"
#include "engine/core/registry.h"
#include "engine/masks/mask_rule.h"
#include "engine/plan/cycle_lengths.h"

namespace sculpt {

namespace {

/// Rounds to twelve decimals, so that 1 - 0.9 reads 0.1 in a plan and not 0.09999999999999998.
double tidy(double density) {
  return std::round(density * 1e12) / 1e12;
}

double target_density(const MethodSettings& s) {
  return tidy(1 - s.prune.sparsity);
}

/// Returns the epochs of each of `count` cycles that share a budget.
std::vector<int64_t> lengths_of_cycles(const MethodSettings& s, int64_t count) {
  const int64_t total = s.cycles.total_epochs > 0 ? s.cycles.total_epochs : s.epochs * count;
  return spread_epochs(s.cycles.spread, total, count);
}

void add_cycles(Plan& plan, const MethodSettings& s, int64_t count) {
  for (const int64_t epochs : lengths_of_cycles(s, count))
    plan.push_back(Cycle{epochs});
}

/// Returns the number of cycles that imp, wr and lrr train.
int64_t iterative_cycles(const MethodSettings& s) {
  return static_cast<int64_t>(density_ladder(s.prune.rate, target_density(s)).size()) + 1;
}

/// Trains once. Then, for each level, prunes, rewinds if `rewind` is set, and trains again.
Plan iterative(const MethodSettings& s, std::optional<RewindStep> rewind, int64_t first_epoch) {
  const std::vector<double> ladder = density_ladder(s.prune.rate, target_density(s));
  const std::vector<int64_t> lengths =
      lengths_of_cycles(s, static_cast<int64_t>(ladder.size()) + 1);
  if (rewind)
    for (const int64_t epochs : lengths)
      if (rewind->epoch >= epochs)
        fail(
            "cycles.rewind_epoch is {}, but a cycle has {} epoch{}; set cycles.rewind_epoch below "
            "the epochs of every cycle",
            rewind->epoch, epochs, epochs == 1 ? "" : "s");
  Plan plan = {Cycle{lengths[0]}};
  for (size_t level = 0; level < ladder.size(); ++level) {
    plan.push_back(PruneStep{"magnitude", s.prune.allocation, ladder[level]});
    if (rewind) plan.push_back(*rewind);
    plan.push_back(Cycle{lengths[level + 1], first_epoch});
  }
  return plan;
}

Plan dense(const MethodSettings& s) {
  if (s.cycles.count == 0)
    fail(
        "cycles.count = 0 stands for as many cycles as imp, wr and lrr train, but method \"dense\" "
        "has no sparsity to take them from; set cycles.count to 1 or more");
  Plan plan;
  add_cycles(plan, s, s.cycles.count);
  return plan;
}

Plan oneshot(const MethodSettings& s) {
  return {Cycle{s.epochs}, PruneStep{"magnitude", s.prune.allocation, target_density(s)},
          Cycle{s.epochs}};
}

Plan imp(const MethodSettings& s) {
  return iterative(s, RewindStep{0}, 0);
}

Plan wr(const MethodSettings& s) {
  const int64_t r = s.cycles.rewind_epoch;
  return iterative(s, RewindStep{r}, s.cycles.schedule_restart == "rewind_epoch" ? r : 0);
}

Plan lrr(const MethodSettings& s) {
  return iterative(s, std::nullopt, 0);
}

Plan pai(const MethodSettings& s) {
  return {PruneStep{s.prune.criterion, s.prune.allocation, target_density(s)}, Cycle{s.epochs}};
}

Plan cyclic(const MethodSettings& s) {
  Plan plan = {PruneStep{s.prune.criterion, s.prune.allocation, target_density(s)}};
  add_cycles(plan, s, s.cycles.count > 0 ? s.cycles.count : iterative_cycles(s));
  return plan;
}

Plan sculpt(const MethodSettings& s) {
  if (s.prune.initial_sparsity >= s.prune.sparsity)
    fail(
        "sculpt starts from prune.initial_sparsity {} and prunes to prune.sparsity {}; the first "
        "must be lower",
        s.prune.initial_sparsity, s.prune.sparsity);
  Plan plan = {
      PruneStep{s.prune.criterion, s.prune.allocation, tidy(1 - s.prune.initial_sparsity)}};
  add_cycles(plan, s,
             s.cycles.count > 0 ? s.cycles.count
                                : std::max<int64_t>(iterative_cycles(s) - s.cycles.final, 1));
  plan.push_back(PruneStep{s.prune.final_criterion, "global", target_density(s)});
  for (int64_t k = 0; k < s.cycles.final; ++k)
    plan.push_back(Cycle{s.epochs});
  return plan;
}

Plan custom(const MethodSettings& s) {
  if (s.method.plan.empty())
    fail(
        "method = \"custom\" needs a plan, e.g. plan = [\"train 30\", \"prune magnitude global "
        "0.2\", \"train 30\"]");
  return parse_plan(s.method.plan);
}

/// Lets the rule masks.rule change the masks in the cycles of a named method. A rule that keeps the
/// density has nothing to do while no weight is masked, so these cycles go without it.
void add_rule(Plan& plan, const MethodSettings& s) {
  const std::string& method = s.method.method;
  if (s.masks.rule == "none") return;
  if (method == "custom")
    fail(
        "masks.rule is \"{}\", but method = \"custom\" names the rule of each cycle in `plan`, as "
        "in \"train {} with {}\"; remove masks.rule",
        s.masks.rule, s.epochs, s.masks.rule);
  const MaskRule& rule = find_mask_rule(s.masks.rule);
  const bool prunes = std::ranges::any_of(
      plan, [](const PlanStep& step) { return std::holds_alternative<PruneStep>(step); });
  if (rule.changes_density == prunes)
    fail("masks.rule = \"{}\" {}, but method \"{}\" {}; {}", rule.name,
         rule.changes_density ? "takes the network to a density in each cycle"
                              : "moves the masks of a pruned network",
         method, prunes ? "prunes between its cycles" : "prunes nothing",
         rule.changes_density
             ? "set method = \"dense\", or write the steps as the plan of method = \"custom\""
             : "set a method that prunes, as \"pai\", or write the steps as the plan of method = "
               "\"custom\"");
  bool masked = rule.changes_density;
  for (PlanStep& step : plan) {
    if (std::holds_alternative<PruneStep>(step)) masked = true;
    auto* const cycle = std::get_if<Cycle>(&step);
    if (cycle == nullptr || !masked) continue;
    cycle->rule = rule.name;
    if (rule.changes_density) cycle->density = target_density(s);
  }
}

constexpr std::string_view kReadByCycles = "cycles.count cycles.spread cycles.total_epochs";
constexpr std::string_view kReadByLadder =
    "prune.sparsity prune.allocation prune.rate cycles.spread cycles.total_epochs";

constexpr auto kMethods = std::to_array<Method>({
    {"dense", dense, "train cycles.count cycles, no pruning", "", kReadByCycles},
    {"oneshot", oneshot, "train, prune by magnitude once, train", "Han et al. 2015",
     "prune.sparsity prune.allocation"},
    {"imp", imp, "train; per level prune by magnitude, rewind to the initialisation, train",
     "Frankle & Carbin 2019", kReadByLadder},
    {"wr", wr, "as imp, but rewind to the state after cycles.rewind_epoch epochs",
     "Frankle et al. 2020; Renda et al. 2020",
     "prune.sparsity prune.allocation prune.rate cycles.spread cycles.total_epochs "
     "cycles.rewind_epoch cycles.schedule_restart"},
    {"lrr", lrr, "as imp without rewinding: learning-rate rewinding", "Renda et al. 2020",
     kReadByLadder},
    {"pai", pai, "prune at initialisation, train once", "Lee et al. 2019 and others",
     "prune.criterion prune.allocation prune.sparsity"},
    {"cyclic", cyclic, "prune at initialisation, train cycles.count cycles",
     "Gadhikar, Nelaturu & Burkholz 2024",
     "prune.criterion prune.allocation prune.sparsity cycles.count cycles.spread "
     "cycles.total_epochs"},
    {"sculpt", sculpt,
     "prune a little at initialisation, train cycles.count cycles, prune once by "
     "prune.final_criterion, train cycles.final cycles",
     "Gadhikar, Nelaturu & Burkholz 2024",
     "prune.criterion prune.allocation prune.sparsity prune.initial_sparsity "
     "prune.final_criterion cycles.count cycles.spread cycles.total_epochs cycles.final"},
    {"custom", custom, "the steps written in `plan`", "", "plan"},
});

}  // namespace

std::span<const Method> methods() {
  return kMethods;
}

std::vector<std::string> method_names() {
  return names_of(kMethods);
}

std::vector<double> density_ladder(double rate, double target) {
  SCULPT_CHECK(rate > 0 && rate < 1 && target > 0, "rate {}, target density {}", rate, target);
  const double levels = std::log(target) / std::log1p(-rate);
  const auto most = static_cast<double>(kMostPlanSteps) / 3;  // a level has 3 steps
  if (!(levels < most))
    fail(
        "prune.rate {} takes {:.0f} levels to prune.sparsity {}, but a plan has at most {:.0f}; "
        "raise prune.rate",
        rate, std::ceil(levels), 1 - target, most);
  std::vector<double> ladder;
  double density = 1 - rate;
  for (int k = 1; density > target * (1 + 1e-9); density = std::pow(1 - rate, ++k))
    ladder.push_back(tidy(density));
  ladder.push_back(target);
  return ladder;
}

Plan expand_method(const MethodSettings& settings) {
  const std::string& name = settings.method.method;
  if (name != "custom" && !settings.method.plan.empty())
    fail("`plan` is only for method = \"custom\", but method is \"{}\"; remove one of them", name);
  if (settings.epochs < 1) fail("train.epochs is {}, but must be at least 1", settings.epochs);
  Plan plan = find_row(kMethods, name, "method").expand(settings);
  add_rule(plan, settings);
  validate(plan);
  return plan;
}

}  // namespace sculpt
