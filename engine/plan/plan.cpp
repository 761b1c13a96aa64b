#include "engine/plan/plan.h"

#include <algorithm>
#include <charconv>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/sparse/allocation.h"
#include "engine/sparse/criteria.h"

namespace sculpt {

namespace {

constexpr std::string_view kForms =
    "\"prune CRITERION ALLOCATION DENSITY\", \"rewind EPOCH\", \"train EPOCHS\" or \"train EPOCHS "
    "from EPOCH\"";

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    const size_t end = std::min(text.find_first_of(" \t", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

template <class T>
T parse_number(std::string_view word, std::string_view what, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error == std::errc::result_out_of_range)
    fail("plan step \"{}\": {} is {}, which is too large", text, what, word);
  if (error != std::errc() || end != word.data() + word.size())
    fail("plan step \"{}\": {} should be a number, but is '{}'", text, what, word);
  return value;
}

struct Validator {
  double density = 1;
  const Cycle* first_cycle = nullptr;
  int64_t epochs = 0;

  void operator()(const PruneStep& step) {
    find_criterion(step.criterion);
    find_allocation(step.allocation);
    if (!(step.density > 0 && step.density <= 1))
      fail("density {} must be above 0 and at most 1", step.density);
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

  void operator()(const Cycle& step) {
    if (step.epochs < 1)
      fail("a cycle of {} epochs is too short; it needs at least 1 epoch", step.epochs);
    if (step.first_epoch < 0 || step.first_epoch >= step.epochs)
      fail("a cycle of {} epochs cannot start after epoch {}", step.epochs, step.first_epoch);
    if (step.epochs > kMostEpochs || step.trained_epochs() > kMostEpochs - epochs)
      fail("with this cycle the plan has more than {} epochs", kMostEpochs);
    epochs += step.trained_epochs();
    if (!first_cycle) first_cycle = &step;
  }
};

}  // namespace

std::string describe(const PlanStep& step) {
  if (const auto* prune = std::get_if<PruneStep>(&step))
    return fmt::format("prune {} {} {}", prune->criterion, prune->allocation, prune->density);
  if (const auto* rewind = std::get_if<RewindStep>(&step))
    return fmt::format("rewind {}", rewind->epoch);
  const auto& train = std::get<Cycle>(step);
  if (train.first_epoch == 0) return fmt::format("train {}", train.epochs);
  return fmt::format("train {} from {}", train.epochs, train.first_epoch);
}

PlanStep parse_plan_step(std::string_view text) {
  const auto words = words_of(text);
  const std::string_view verb = words.empty() ? std::string_view() : words[0];
  if (verb == "prune" && words.size() == 4)
    return PruneStep{std::string(words[1]), std::string(words[2]),
                     parse_number<double>(words[3], "the density", text)};
  if (verb == "rewind" && words.size() == 2)
    return RewindStep{parse_number<int64_t>(words[1], "the epoch", text)};
  if (verb == "train" && words.size() == 2)
    return Cycle{parse_number<int64_t>(words[1], "the number of epochs", text)};
  if (verb == "train" && words.size() == 4 && words[2] == "from")
    return Cycle{parse_number<int64_t>(words[1], "the number of epochs", text),
                 parse_number<int64_t>(words[3], "the first epoch", text)};
  const std::vector<std::string> verbs = {"prune", "rewind", "train"};
  const bool known = std::ranges::find(verbs, verb) != verbs.end();
  fail("plan step \"{}\" is not understood{}; a step is {}", text,
       known ? "" : did_you_mean(verb, verbs), kForms);
}

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

std::vector<double> densities(const Plan& plan) {
  std::vector<double> result;
  double density = 1;
  for (const auto& step : plan) {
    if (const auto* prune = std::get_if<PruneStep>(&step)) density = prune->density;
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
