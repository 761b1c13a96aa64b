#include "engine/report/scale.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sculpt {

void Range::add(double value) {
  if (!std::isfinite(value)) return;
  low = empty ? value : std::min(low, value);
  high = empty ? value : std::max(high, value);
  empty = false;
}

Scale::Scale(const Axis& axis, Range data, double margin, double from, double to)
    : log_(axis.log), low_(data.low), high_(data.high), from_(from), to_(to) {
  if (axis.reversed) std::swap(from_, to_);
  if (data.empty || (log_ && !(low_ > 0))) {
    low_ = log_ ? 1 : 0;
    high_ = log_ ? 10 : 1;
    return;
  }
  if (log_) {
    const double ratio = high_ > low_ ? std::pow(high_ / low_, margin) : 2.0;
    low_ /= ratio;
    high_ *= ratio;
    return;
  }
  // A constant is drawn in the middle.
  const double size = std::max(std::abs(low_), std::abs(high_));
  const bool constant = high_ - low_ <= 1e-12 * size || high_ == low_;
  const double extra = constant ? (size > 0 ? 0.1 * size : 1) : margin * (high_ - low_);
  low_ -= extra;
  high_ += extra;
}

double Scale::along(double value) const {
  return log_ ? std::log10(value) : value;
}

double Scale::operator()(double value) const {
  const double share = (along(value) - along(low_)) / (along(high_) - along(low_));
  return from_ + share * (to_ - from_);
}

Ticks Scale::ticks(size_t wanted) const {
  return log_ ? log_ticks(low_, high_, wanted) : linear_ticks(low_, high_, wanted);
}

}  // namespace sculpt
