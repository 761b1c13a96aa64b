#pragma once
// A run is a plan of three verbs: Prune, Rewind, Train. A method name expands to a plan; nothing
// else decides what happens. A plan is data: printable with its cost before anything runs,
// resumable at any step, writable by hand in a config.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace sculpt {

/// Score all weights that are not yet masked, keep round(density * N) of them.
struct PruneStep {
  std::string criterion;   ///< row of the criteria table
  std::string allocation;  ///< global, uniform, erk, balanced
  double density = 1;
};

/// Kept weights and batch-norm state go back to the state after `epoch` epochs of the first cycle
/// (0 = initialisation); momentum is zeroed; masks stay.
struct RewindStep {
  int64_t epoch = 0;
};

/// One cycle: the schedule runs over `epochs` epochs from a zeroed momentum.
struct TrainStep {
  int64_t epochs = 0;  ///< length of the schedule
  int64_t first_epoch =
      0;  ///< where in the schedule training starts (weight rewinding may skip ahead)
};

using PlanStep = std::variant<PruneStep, RewindStep, TrainStep>;
using Plan = std::vector<PlanStep>;

}  // namespace sculpt
