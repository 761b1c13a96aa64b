#pragma once
// Chooses the tick marks of an axis at round numbers, and writes numbers as people read them.

#include <cstddef>
#include <string>
#include <vector>

namespace sculpt {

struct Ticks {
  std::vector<double> values;       ///< ascending, all within the range
  std::vector<std::string> labels;  ///< one per value, all with the same number of decimals
  std::vector<double> minor;        ///< marks without a label, on a logarithmic axis
};

/// Returns about `wanted` ticks in [low, high], at multiples of 1, 2 or 5 times a power of ten: at
/// most three more, and at least a third of them. `low` < `high`, both finite.
Ticks linear_ticks(double low, double high, size_t wanted);

/// Returns at most `wanted` + 1 ticks in [low, high] for a logarithmic axis: whole multiples of
/// powers of ten where less than a decade is shown, then 1, 2 and 5 times the powers of ten, then
/// powers of ten. A range that holds fewer than two such numbers has linear ticks. 0 < low < high,
/// both finite.
Ticks log_ticks(double low, double high, size_t wanted);

/// Returns a number with at most `digits` significant digits and without trailing zeros. It is
/// "1.5e-7" for very small and very large ones, and "" if the value is not a number.
std::string number_text(double value, int digits = 4);

/// Returns a number with the given number of decimals; "" if the value is not a number.
std::string fixed_text(double value, int decimals);

/// Returns a text such as "1h02m", "3m12s" or "4.2s"; "" if the value is not a number.
std::string seconds_text(double seconds);

/// Returns a text such as "67,992".
std::string grouped_text(long long value);

}  // namespace sculpt
