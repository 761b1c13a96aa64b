#pragma once
// Judges the claims of a study by its runs. A verdict is computed from the 95 % confidence interval
// of a paired difference over seeds, and never written by hand.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/study/statistics.h"
#include "engine/study/study_results.h"

namespace sculpt {

enum class ClaimVerdict {
  supported,      ///< the interval excludes 0 in the claimed direction
  not_supported,  ///< the interval excludes 0 in the other direction
  inconclusive,   ///< the interval holds 0, or all differences of a measured value are equal
  not_enough,     ///< fewer than two pairs of runs have finished
};
/// Returns "supported", "not supported", "inconclusive" or "not enough runs".
const char* name_of(ClaimVerdict verdict);

/// A comparison of the two selections of a claim.
struct ClaimComparison {
  /// The values that the compared runs have for the keys of StudyClaim::over. Empty in the
  /// comparison over all of them.
  std::map<std::string, std::string> at;
  /// The values of the metric in the runs of all pairs.
  Sample better, than;
  /// The metric of `better` minus that of `than`, one difference for each seed.
  PairedDifference difference;
  ClaimVerdict verdict = ClaimVerdict::not_enough;
};

struct ClaimResult {
  StudyClaim claim;
  bool higher_is_better = true;
  /// One comparison for each combination of values of StudyClaim::over, in the order of the runs.
  std::vector<ClaimComparison> comparisons;
  /// The comparison that decides about the claim. Its differences are means over the combinations
  /// above, because runs with the same seed are not independent of each other. A seed counts if it
  /// has a pair for every combination.
  ClaimComparison overall;
  int64_t missing = 0;  ///< pairs without a finished run or without the metric on a side
  /// Says why the claim cannot be judged as it is written: several runs of a side belong to the
  /// same pair, or a side has no runs. Empty if it can.
  std::string problem;

  ClaimVerdict verdict() const { return overall.verdict; }
};

/// Judges a claim by the finished runs.
ClaimResult judge(const StudyClaim& claim, const StudyResults& results);
/// Judges all claims of the study.
std::vector<ClaimResult> judge_claims(const StudyResults& results);

}  // namespace sculpt
