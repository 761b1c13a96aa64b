#pragma once
// Chooses a few of many things to show.

#include <cstddef>
#include <vector>

namespace sculpt {

/// Returns at most `most` of the indices 0 ... count - 1, evenly spaced, ascending, with the first
/// and the last one. `most` is at least 2.
inline std::vector<size_t> evenly_chosen(size_t count, size_t most) {
  std::vector<size_t> chosen;
  if (count <= most) {
    for (size_t i = 0; i < count; ++i)
      chosen.push_back(i);
    return chosen;
  }
  for (size_t i = 0; i < most; ++i)
    chosen.push_back(i * (count - 1) / (most - 1));
  return chosen;
}

}  // namespace sculpt
