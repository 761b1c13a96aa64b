// Ranking as kernels/ranking.h defines it, by a sort: it shares no code with the radix select of
// the other backends, which tests compare with it.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

/// Indices of the candidates of a segment, in ascending order.
std::vector<int64_t> candidates_of(const RankingSegment& segment, const uint8_t* candidate) {
  std::vector<int64_t> indices;
  for (int64_t i = segment.offset; i < segment.offset + segment.count; ++i)
    if (candidate == nullptr || candidate[i] != 0) indices.push_back(i);
  return indices;
}

template <class Score>
RankingResult select(uint8_t* keep, const Score* scores, const uint8_t* candidate,
                     std::span<const RankingSegment> segments, void* /*workspace*/,
                     void* /*stream*/) {
  for (const RankingSegment& segment : segments)
    for (const int64_t i : candidates_of(segment, candidate))
      if (std::isnan(scores[i])) return {i};
  for (const RankingSegment& segment : segments) {
    std::vector<int64_t> indices = candidates_of(segment, candidate);
    if (segment.keep < 0 || segment.keep > std::ssize(indices))
      fail("cannot keep {} of {} candidates: the number must be between 0 and {}", segment.keep,
           indices.size(), indices.size());
    // A stable sort leaves equal scores in the order of their indices. -0 and +0 are equal.
    std::ranges::stable_sort(indices, [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
    indices.resize(static_cast<size_t>(segment.keep));
    std::fill_n(keep + segment.offset, segment.count, uint8_t{0});
    for (const int64_t i : indices)
      keep[i] = 1;
  }
  return {};
}

}  // namespace

RankingKernels ranking_kernels() {
  return {select<float>, select<double>, [](int64_t, int64_t) { return size_t{0}; }};
}

}  // namespace sculpt::kernels::reference
