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

/// A measurement of one run at a place that has a name and no number.
struct NamedPoint {
  std::string series;
  std::string place;
  double y = 0;
  std::string label;  ///< names the run
  std::string group = {};
};

/// Returns a figure whose x axis names the places, in the order of their first points, with means
/// and single points as mean_figure() has them. The series of one place stand side by side.
Figure category_figure(const std::vector<NamedPoint>& points);

/// Returns a series of means for each series of points, in the order of their first points, with
/// standard deviations (n - 1) over the points of a group, and a pale series of
/// the points themselves. Points that are not finite are left out. The caller sets names and axes.
Figure mean_figure(const std::vector<MeasuredPoint>& points);

}  // namespace sculpt
