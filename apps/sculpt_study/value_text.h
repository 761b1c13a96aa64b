#pragma once
// Shows results and their statistics as text.

#include <string>

#include "engine/study/statistics.h"

namespace sculpt {

/// Returns a number with up to six digits; "" if it is not a number.
std::string number_text(double value);

/// Returns a result in the unit that people read: "91.23 %", "4.46 T", "2m05s". `name` is the name
/// of the result. "" if the value is not a number.
std::string value_text(double value, const std::string& name);

/// Returns "91.23 ± 0.45 %" for a sample; "" if it is empty.
std::string sample_text(const Sample& sample, const std::string& name);

}  // namespace sculpt
