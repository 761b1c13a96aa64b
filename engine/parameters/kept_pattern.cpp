#include "engine/parameters/kept_pattern.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/core/checksum.h"
#include "engine/core/error.h"

namespace sculpt {

namespace {

std::vector<uint8_t> all_ones(const std::vector<int64_t>& counts) {
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  return std::vector<uint8_t>(static_cast<size_t>(total), 1);
}

}  // namespace

KeptPattern::KeptPattern(std::vector<int64_t> counts) : KeptPattern(counts, all_ones(counts)) {}

KeptPattern::KeptPattern(std::vector<int64_t> counts, std::vector<uint8_t> bytes)
    : counts_(std::move(counts)), bytes_(std::move(bytes)) {
  const int64_t total = std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
  SCULPT_CHECK(std::ssize(bytes_) == total, "a mask of {} bytes for {} elements", bytes_.size(),
               total);
  SCULPT_CHECK(std::ranges::all_of(bytes_, [](uint8_t byte) { return byte <= 1; }),
               "a mask has values that are neither 0 nor 1");
  int64_t offset = 0;
  for (const int64_t count : counts_) {
    offsets_.push_back(offset);
    const auto mask =
        std::span(bytes_).subspan(static_cast<size_t>(offset), static_cast<size_t>(count));
    kept_.push_back(std::accumulate(mask.begin(), mask.end(), int64_t{0}));
    offset += count;
  }
}

bool KeptPattern::same(ParameterId id, const KeptPattern& other) const {
  return kept(id) == other.kept(id) && std::ranges::equal(bytes(id), other.bytes(id));
}

std::string KeptPattern::hash() const {
  Checksum checksum;
  checksum.add(std::as_bytes(bytes()));
  return checksum.digits();
}

std::vector<int64_t> KeptPattern::kept_indices(ParameterId id) const {
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(kept(id)));
  for_each_kept(id, [&](size_t i) { indices.push_back(static_cast<int64_t>(i)); });
  return indices;
}

}  // namespace sculpt
