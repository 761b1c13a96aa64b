#include "engine/autograd/blocks/row_bands.h"

namespace sculpt {

int64_t ready_rows(std::span<const BandStep> steps, size_t step, std::span<const int64_t> done) {
  using Dependency = BandStep::Wait::Dependency;
  int64_t ready = steps[step].rows;
  for (const auto& [before, dependency, window] : steps[step].waits) {
    const int64_t rows = done[static_cast<size_t>(before)];
    if (rows == steps[static_cast<size_t>(before)].rows) continue;
    int64_t allowed = rows;
    if (dependency == Dependency::window)
      allowed = (rows + window.padding - window.kernel + window.stride) / window.stride;
    else if (dependency == Dependency::transpose)
      allowed = rows * window.stride - window.padding;
    ready = std::min(ready, std::max<int64_t>(0, allowed));
  }
  return ready;
}

}  // namespace sculpt
