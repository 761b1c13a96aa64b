#pragma once
// Makes a figure of means out of single measurements.

#include <string>
#include <vector>

#include "engine/report/figure.h"

namespace sculpt {

/// A measurement of one run.
struct MeasuredPoint {
  std::string series;
  double x = 0, y = 0;
  std::string label;  ///< names the run
  /// Points of a series with the same group are one mean. Without groups, points whose x agree to
  /// four digits are one mean.
  std::string group = {};
};

/// Returns a series of means for each series of points, in the order of their first points, with
/// standard deviations (n - 1) over the points of a group, and a pale series of
/// the points themselves. Points that are not finite are left out. The caller sets names and axes.
Figure mean_figure(const std::vector<MeasuredPoint>& points);

}  // namespace sculpt
