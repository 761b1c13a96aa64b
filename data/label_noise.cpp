#include "data/label_noise.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/random.h"

namespace sculpt::data {

void add_label_noise(Dataset& set, std::span<const int32_t> indices, double fraction,
                     uint64_t seed) {
  const int64_t count = std::llround(fraction * static_cast<double>(indices.size()));
  if (count == 0) return;
  if (set.classes < 2)
    fail("data.label_noise = {} needs another class, but the data set has {}; set it to 0",
         fraction, set.classes);
  const RandomStream stream(seed, Purpose::label_noise);
  std::vector<std::pair<uint32_t, int32_t>> order;  // random word of the choice, image
  for (const int32_t index : indices)
    order.emplace_back(stream.words(static_cast<uint64_t>(index))[3], index);
  std::ranges::sort(order);
  for (const auto& [word, index] : std::span(order).first(static_cast<size_t>(count))) {
    // below() reads the first two words of the draw, and the choice of the image the last one.
    const auto others = static_cast<uint64_t>(set.classes - 1);
    const auto shift = 1 + static_cast<int64_t>(stream.below(static_cast<uint64_t>(index), others));
    int32_t& label = set.labels[static_cast<size_t>(index)];
    label = static_cast<int32_t>((label + shift) % set.classes);
  }
}

}  // namespace sculpt::data
