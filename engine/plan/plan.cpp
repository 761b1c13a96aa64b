#include "engine/plan/plan.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/masks/mask_rule.h"
#include "engine/plan/verbs/verbs.h"
#include "engine/sparse/allocation.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

namespace {

struct Validator {
  double density = 1;
  const Cycle* first_cycle = nullptr;
  int64_t epochs = 0;

  void operator()(const PruneStep& step) {
    find_criterion(step.criterion);
    find_allocation(step.allocation);
    require_density(step.density);
    if (step.density > density)
      fail("density {} is above {}, the density before this step; masked weights do not come back",
           step.density, density);
    density = step.density;
  }

  void operator()(const RewindStep& step) const {
    if (step.epoch < 0) fail("epoch {} must not be negative", step.epoch);
    if (step.epoch == 0) return;
    if (!first_cycle) fail("nothing has been trained before this step; train first, or rewind 0");
    if (step.epoch <= first_cycle->first_epoch || step.epoch > first_cycle->epochs)
      fail(
          "the first cycle trains epochs {} to {}; rewind to the end of one of these epochs, or to "
          "0",
          first_cycle->first_epoch + 1, first_cycle->epochs);
  }

  void operator()(const Intervention& step) {
    const Action& action = find_action(step.action);
    if (action.reads == FilePart::none && !step.path.empty())
      fail("{} reads no file; write \"{}\"", action.name, action.name);
    if (action.reads != FilePart::none && step.path.empty())
      fail("{} needs a file, as in \"{} from runs/lrr\"", action.name, action.name);
    if (action.reads == FilePart::masks) density = 1;
  }

  void operator()(const Cycle& step) {
    if (step.epochs < 1)
      fail("a cycle of {} epochs is too short; it needs at least 1 epoch", step.epochs);
    if (step.first_epoch < 0 || step.first_epoch >= step.epochs)
      fail("a cycle of {} epochs cannot start after epoch {}", step.epochs, step.first_epoch);
    if (step.epochs > kMostEpochs || step.trained_epochs() > kMostEpochs - epochs)
      fail("with this cycle the plan has more than {} epochs", kMostEpochs);
    epochs += step.trained_epochs();
    if (!first_cycle) first_cycle = &step;
    if (!step.rule.empty()) check_rule(step);
  }

  void check_rule(const Cycle& step) {
    const MaskRule& rule = find_mask_rule(step.rule);
    if (!rule.changes_density) {
      if (step.density != 0)
        fail("{} keeps the density; write \"with {}\" without \"to {}\"", rule.name, rule.name,
             step.density);
      return;
    }
    if (step.density == 0)
      fail("{} changes the density; say what it ends with, as in \"with {} to 0.1\"", rule.name,
           rule.name);
    require_density(step.density);
    if (step.density > density && !rule.starts_anywhere)
      fail("density {} is above {}, the density before this step, and {} only lowers it",
           step.density, density, rule.name);
    density = step.density;
  }

  static void require_density(double density) {
    if (!(density > 0 && density <= 1)) fail("density {} must be above 0 and at most 1", density);
  }
};

}  // namespace

Plan parse_plan(std::span<const std::string> steps) {
  Plan plan;
  for (const auto& text : steps) {
    try {
      plan.push_back(parse_plan_step(text));
    } catch (const Error& error) {
      fail("step {} of the plan: {}", plan.size() + 1, error.what());
    }
  }
  validate(plan);
  return plan;
}

void validate(const Plan& plan) {
  if (std::ssize(plan) > kMostPlanSteps)
    fail("the plan has {} steps, but may have at most {}", plan.size(), kMostPlanSteps);
  Validator validator;
  for (size_t i = 0; i < plan.size(); ++i) {
    try {
      std::visit(validator, plan[i]);
    } catch (const Error& error) {
      fail("step {} of the plan, \"{}\": {}", i + 1, describe(plan[i]), error.what());
    }
  }
  if (!validator.first_cycle)
    fail("the plan trains nothing; it needs at least one step \"train EPOCHS\"");
}

std::string difference_from_extension(const Plan& done, const Plan& longer) {
  const auto [mine, other] = std::mismatch(done.begin(), done.end(), longer.begin(), longer.end());
  const auto number = 1 + std::distance(done.begin(), mine);
  if (mine == done.end()) return other != longer.end() ? "" : "the plan has no further step";
  if (other == longer.end())
    return fmt::format("the plan ends before step {}, \"{}\", which was done", number,
                       describe(*mine));
  return fmt::format(
      "the plans differ from step {} on: \"{}\" was done, \"{}\" is in the config now", number,
      describe(*mine), describe(*other));
}

bool may_keep_more(const PlanStep& step) {
  if (const auto* intervention = std::get_if<Intervention>(&step))
    return find_action(intervention->action).reads == FilePart::masks;
  const auto* cycle = std::get_if<Cycle>(&step);
  return cycle != nullptr && !cycle->rule.empty() && find_mask_rule(cycle->rule).starts_anywhere;
}

int64_t total_epochs(const Plan& plan) {
  int64_t epochs = 0;
  for (const auto& step : plan)
    if (const auto* train = std::get_if<Cycle>(&step)) epochs += train->trained_epochs();
  return epochs;
}

int64_t cycle_count(const Plan& plan) {
  return std::ranges::count_if(
      plan, [](const PlanStep& step) { return std::holds_alternative<Cycle>(step); });
}

bool has_rule_with_density(const Plan& plan) {
  return std::ranges::any_of(plan, [](const PlanStep& step) {
    const auto* const cycle = std::get_if<Cycle>(&step);
    return cycle != nullptr && cycle->density > 0;
  });
}

bool removes_weights(const Plan& plan) {
  return has_rule_with_density(plan) || std::ranges::any_of(plan, [](const PlanStep& step) {
           return std::holds_alternative<PruneStep>(step);
         });
}

bool trains_thresholds(const Plan& plan) {
  return std::ranges::any_of(plan, [](const PlanStep& step) {
    const auto* const cycle = std::get_if<Cycle>(&step);
    return cycle != nullptr && !cycle->rule.empty() &&
           find_mask_rule(cycle->rule).trains_thresholds;
  });
}

std::vector<double> densities(const Plan& plan) {
  std::vector<double> result;
  double density = 1;
  for (const auto& step : plan) {
    if (const auto* prune = std::get_if<PruneStep>(&step)) density = prune->density;
    if (const auto* intervention = std::get_if<Intervention>(&step);
        intervention && find_action(intervention->action).reads == FilePart::masks)
      density = NAN;
    if (const auto* cycle = std::get_if<Cycle>(&step); cycle && cycle->density > 0)
      density = cycle->density;
    result.push_back(density);
  }
  return result;
}

std::vector<int64_t> epochs_between_prunes(const Plan& plan, size_t first) {
  std::vector<int64_t> epochs = {0};
  for (size_t i = first; i < plan.size(); ++i) {
    if (std::holds_alternative<PruneStep>(plan[i])) epochs.push_back(0);
    if (const auto* train = std::get_if<Cycle>(&plan[i])) epochs.back() += train->trained_epochs();
  }
  return epochs;
}

std::vector<int64_t> rewind_epochs(const Plan& plan) {
  std::vector<int64_t> epochs;
  for (const auto& step : plan)
    if (const auto* rewind = std::get_if<RewindStep>(&step)) epochs.push_back(rewind->epoch);
  std::ranges::sort(epochs);
  const auto repeated = std::ranges::unique(epochs);
  epochs.erase(repeated.begin(), repeated.end());
  return epochs;
}

int64_t rewind_epoch_after(const Plan& plan, int64_t trained) {
  if (trained == 0) return 0;
  for (const auto& step : plan)
    if (const auto* first_cycle = std::get_if<Cycle>(&step))
      return first_cycle->first_epoch + trained;
  fail("the plan trains nothing");
}

}  // namespace sculpt
