#pragma once
// A run is a plan, a list of steps of four kinds: Prune, Rewind, Train and Intervention. A method
// name expands to a plan (methods.h), and nothing else decides what happens. A plan is data: it can
// be printed with its cost before anything runs, resumed at any step, and written by hand in a
// config.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/plan/intervention.h"     // IWYU pragma: export
#include "engine/sparse/prune_options.h"  // IWYU pragma: export  (PruneStep)

namespace sculpt {

/// Sets kept weights and batch-norm state back to their state at epoch `epoch` of the first cycle's
/// schedule. Momentum is zeroed and masks stay. If the first cycle enters its schedule late ("train
/// 8 from 2"), epoch 5 is the state after 3 trained epochs. Epoch 0 is always the initialisation.
struct RewindStep {
  int64_t epoch = 0;
  bool operator==(const RewindStep&) const = default;
};

/// One training cycle. The learning-rate schedule runs over `epochs` epochs, starting with zeroed
/// momentum. A mask rule (engine/masks/mask_rule.h) may change the masks meanwhile.
struct Cycle {
  int64_t epochs = 0;       ///< length of the schedule
  int64_t first_epoch = 0;  ///< epoch of the schedule at which training starts
  std::string rule = {};    ///< name of a mask rule; empty if the masks stay
  double density = 0;       ///< density that the rule ends with; 0 if the rule keeps the density
  int64_t trained_epochs() const { return epochs - first_epoch; }
  bool operator==(const Cycle&) const = default;
};

/// The limits of a plan. Within these limits no count of steps or images overflows, because a data
/// set has at most 2^30 images.
inline constexpr int64_t kMostPlanSteps = 100'000;
inline constexpr int64_t kMostEpochs = 1'000'000'000;  ///< counts the epochs of all cycles together

using PlanStep = std::variant<PruneStep, RewindStep, Cycle, Intervention>;
using Plan = std::vector<PlanStep>;

/// Returns a step as text, as a config writes it:
///   "prune magnitude global 0.5" · "rewind 10" · "train 30" · "train 30 from 10"
///   "train 30 with rigl" · "train 30 from 10 with gmp to 0.1"
///   "reinit keep signs" · "shuffle mask" · "load mask from runs/lrr"
/// "from 10" is a schedule of 30 epochs that is entered after epoch 10. Densities are written so
/// that parsing gives back the same number.
std::string describe(const PlanStep& step);
/// Throws Error that quotes the text and says what was expected.
PlanStep parse_plan_step(std::string_view text);
/// Parses and validates; errors name the step by number (from 1).
Plan parse_plan(std::span<const std::string> steps);

/// Throws Error naming the first step that cannot work: an unknown criterion or allocation, a
/// density outside (0, 1] or above what is left, a cycle without epochs, an unknown action, or a
/// rewind to an epoch that the first cycle has not passed by then. The density of a mask that is
/// loaded is not known here; plan_cost() checks what follows it. Also throws Error if the plan
/// trains nothing, or is longer than kMostPlanSteps or kMostEpochs.
void validate(const Plan& plan);

/// Says why a run of the plan `done` cannot be continued as a run of the plan `longer`, naming the
/// first step that differs (numbers from 1). Returns "" if `done` is the beginning of `longer`.
std::string difference_from_extension(const Plan& done, const Plan& longer);

/// Returns true if more weights may be kept after the step than before it: a mask is loaded, or a
/// rule makes all weights active.
bool may_keep_more(const PlanStep& step);
/// The number of epochs that are trained, all cycles together.
int64_t total_epochs(const Plan& plan);
/// The number of cycles.
int64_t cycle_count(const Plan& plan);
/// Returns true if a cycle has a rule that ends at a density.
bool has_rule_with_density(const Plan& plan);
/// Returns true if the plan removes weights, in prunes or by the rule of a cycle.
bool removes_weights(const Plan& plan);
/// Returns true if a cycle has a rule that trains soft thresholds.
bool trains_thresholds(const Plan& plan);
/// The density after each step; not a number between the load of a mask and the next prune.
std::vector<double> densities(const Plan& plan);
/// Returns the number of epochs trained from step `first` on: up to the next prune, from there to
/// the following prune, and so on to the end.
std::vector<int64_t> epochs_between_prunes(const Plan& plan, size_t first);
/// Returns the epochs of the first cycle's schedule whose state later steps rewind to, ascending,
/// without duplicates. Epoch 0 is the initialisation. The trainer stores exactly these states.
std::vector<int64_t> rewind_epochs(const Plan& plan);
/// Returns the epoch by which a rewind refers to the state after `trained` epochs of the first
/// cycle. This is an epoch of the cycle's schedule, and 0 before training.
int64_t rewind_epoch_after(const Plan& plan, int64_t trained);

}  // namespace sculpt
