#pragma once
// Computes what each prune of a run did to loss and accuracy, from the records of the run. Reports
// and sculpt_analyze show it.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/run/run_reader.h"

namespace sculpt {

/// Losses and accuracies are those on the run's test images (or validation images). Values that the
/// run has not measured are not a number.
struct PruneEffect {
  int64_t plan_step = 0;  ///< index in the plan, from 0
  int64_t epoch = 0;      ///< epochs trained before
  std::string criterion, allocation;
  int64_t prunable = 0;
  int64_t kept_before = 0, kept_after = 0;
  double loss_before = NAN, accuracy_before = NAN;  ///< after the last epoch before the prune
  double loss_after = NAN, accuracy_after = NAN;    ///< right after the prune
  /// The last ones that were measured in the cycle that follows.
  double loss_later = NAN, accuracy_later = NAN;
};

/// Returns the effects in the order of the prunes. If two prunes follow each other without training
/// in between, the second one begins with what the first one left.
std::vector<PruneEffect> prune_effects(const RunRecords& run);

}  // namespace sculpt
