#pragma once
// Maps the values of an axis to positions in a drawing.

#include <vector>

#include "engine/report/figure.h"
#include "engine/report/ticks.h"

namespace sculpt {

/// The range of finite values that were added.
struct Range {
  double low = 0, high = 0;
  bool empty = true;

  /// Ignores values that are not finite.
  void add(double value);
};

class Scale {
 public:
  /// Covers `data` with a margin of the given share at both ends. An empty range counts as [0, 1],
  /// and a range of one value gets a width. `from` and `to` are the positions of the two ends of
  /// the drawing; a reversed axis runs from `to` to `from`. On a logarithmic axis, a range that is
  /// not positive counts as empty.
  Scale(const Axis& axis, Range data, double margin, double from, double to);

  /// Returns the position of a value; not finite if the axis cannot show the value.
  double operator()(double value) const;
  bool shows(double value) const { return value >= low_ && value <= high_; }
  Ticks ticks(size_t wanted) const;
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double along(double value) const;  // the logarithm on a logarithmic axis

  bool log_;
  double low_, high_, from_, to_;
};

}  // namespace sculpt
