#pragma once
// Cuts planes into ranges of rows, for kernels that run on part of a plane.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/common/layout.h"
#include "kernels/common/philox.h"

namespace sculpt::kernels::test {

/// Returns all rows from the top in ranges of one to three bands. There is only one range if all
/// rows are one band.
inline std::vector<RowRange> row_ranges(const ActivationShape& shape, uint64_t seed) {
  std::vector<RowRange> ranges;
  for (int64_t row = 0; row < shape.height;) {
    const int64_t most = row > 0 ? 3 : std::clamp<int64_t>(bands_of(shape) - 1, 1, 3);
    const int64_t bands = 1 + philox4x32(seed, static_cast<uint64_t>(row), 0)[0] % most;
    const int64_t end = std::min(row + bands * band_rows(shape), shape.height);
    ranges.push_back({row, end});
    row = end;
  }
  return ranges;
}

/// Returns the same ranges in another order.
inline std::vector<RowRange> shuffled_row_ranges(const ActivationShape& shape, uint64_t seed) {
  std::vector<RowRange> ranges = row_ranges(shape, seed);
  std::ranges::sort(ranges, {}, [&](const RowRange& rows) {
    return philox4x32(seed, static_cast<uint64_t>(rows.begin), 1)[0];
  });
  return ranges;
}

}  // namespace sculpt::kernels::test
