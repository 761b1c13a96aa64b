#pragma once
// The metrics that claims and figures may compare: numbers of summary.json, and what is known about
// each of them.

#include <span>
#include <string>
#include <string_view>

namespace sculpt {

/// Says which values of a metric are better. `unclear` leaves it to the claim.
enum class Better { higher, lower, unclear };

struct Metric {
  std::string_view name;
  std::string_view label;  ///< on an axis, with the unit
  double factor = 1;       ///< from the value to the unit of the label
  Better better = Better::unclear;
  /// True if the value is counted and not measured, so that runs with other seeds may well have
  /// exactly the same one.
  bool counted = false;
};

std::span<const Metric> study_metrics();

/// Returns what is known about a metric. Values of analyses ("analysis.FILE.VALUE") and keys of the
/// config have their names as labels, and nothing else is known about them. The label then belongs
/// to `name`, which must outlive the result.
Metric metric_of(const std::string& name);

}  // namespace sculpt
