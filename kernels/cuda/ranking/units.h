#pragma once
// Shared parts of the passes of a ranking (ranking.cu): keys that order like the scores, the state
// of each segment, and the way in which a block reads its unit of scores.

#include <cstdint>
#include <cstring>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda::ranking {

using Count = unsigned;  // launch functions refuse longer arrays

inline constexpr int kThreads = 256;
inline constexpr int kBins = 1 << 11;
inline constexpr unsigned long long kNoNan = ~0ull;
inline constexpr unsigned kNoSegment = ~0u;

template <class Score>
struct Radix;
template <>
struct Radix<float> {
  using Key = uint32_t;
  static constexpr int kDigitBits[] = {11, 11, 10};
};
template <>
struct Radix<double> {
  using Key = uint64_t;
  static constexpr int kDigitBits[] = {11, 11, 11, 11, 10, 10};
};
template <class Score>
using KeyOf = typename Radix<Score>::Key;
template <class Score>
inline constexpr int kKeyBits = 8 * static_cast<int>(sizeof(Score));

/// The state of the ranking of a segment.
struct Segment {
  int64_t offset;
  int64_t count;
  uint64_t prefix;   ///< leading digits of the lowest key that is kept, in their place
  Count wanted;      ///< how many of the keys with that prefix to keep
  Count candidates;  ///< number of candidates; set by the pass over the first digit
  int first_unit;
  bool settled;  ///< whether all keys with the prefix are kept, so that nothing is left to decide
};

/// Reasons for not writing the mask.
struct Problems {
  unsigned long long first_nan = kNoNan;  ///< index of the first NaN among the candidates
  unsigned short_segment = kNoSegment;    ///< first segment with too few candidates
};

/// The arguments of all passes.
template <class Score>
struct Work {
  const Score* scores;
  const uint8_t* candidate;
  Problems* problems;
  Segment* segments;
  int segment_count;
  int64_t stretch;    ///< number of scores of a unit
  Count* histograms;  ///< [segment][kBins]; zeros between passes
  Count* equal;       ///< per unit: number of candidates whose key is the lowest that is kept
};

__device__ inline uint32_t bits_of(float score) {
  return __float_as_uint(score);
}
__device__ inline uint64_t bits_of(double score) {
  uint64_t bits;
  memcpy(&bits, &score, sizeof(bits));
  return bits;
}

template <class Score>
__device__ KeyOf<Score> key_of(Score score) {
  using Key = KeyOf<Score>;
  constexpr Key kSign = Key{1} << (kKeyBits<Score> - 1);
  const Key bits = bits_of(score + Score{0});  // -0 + 0 is +0
  return bits ^ ((bits & kSign) != 0 ? ~Key{0} : kSign);
}

struct Unit {
  int segment;
  int64_t begin, end;
};

template <class Score>
__device__ Unit unit_of_block(const Work<Score>& work) {
  const int unit = static_cast<int>(blockIdx.x);
  int low = 0, high = work.segment_count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (work.segments[middle].first_unit <= unit)
      low = middle + 1;
    else
      high = middle;
  }
  const Segment& segment = work.segments[low - 1];
  const int64_t begin = (unit - segment.first_unit) * work.stretch;
  return {low - 1, segment.offset + begin,
          segment.offset + min(begin + work.stretch, segment.count)};
}

/// The scores of a thread that lie in one 16-byte word.
template <class Score>
struct Group {
  static constexpr int kSize = kVector<Score>;
  Score score[kSize];
  bool here[kSize];  ///< whether the score is a candidate of the unit
};

template <class Score>
__device__ bool holds_group(const Unit& unit, int64_t i) {
  return i >= unit.begin && i + Group<Score>::kSize <= unit.end;
}

template <class Score>
__device__ Group<Score> load_group(const Work<Score>& work, const Unit& unit, int64_t i) {
  constexpr int kSize = Group<Score>::kSize;
  Group<Score> group;
  if (holds_group<Score>(unit, i)) {
    const auto scores = load_pack<kSize>(work.scores + i);
    Pack<uint8_t, kSize> candidate;
    memset(&candidate, 1, sizeof(candidate));
    if (work.candidate != nullptr) candidate = load_pack<kSize>(work.candidate + i);
    SCULPT_UNROLL
    for (int j = 0; j < kSize; ++j) {
      group.score[j] = scores.at[j];
      group.here[j] = candidate.at[j] != 0;
    }
  } else {
    SCULPT_UNROLL
    for (int j = 0; j < kSize; ++j) {
      const bool inside = i + j >= unit.begin && i + j < unit.end;
      group.here[j] = inside && (work.candidate == nullptr || work.candidate[i + j] != 0);
      group.score[j] = group.here[j] ? work.scores[i + j] : Score{0};
    }
  }
  return group;
}

/// Returns the index of this thread's first group of the unit. Groups are aligned words, so the
/// first group may begin before the unit.
template <class Score>
__device__ int64_t first_group(const Unit& unit) {
  constexpr int kSize = Group<Score>::kSize;
  return unit.begin / kSize * kSize + int64_t{threadIdx.x} * kSize;
}

template <class Score>
inline constexpr int64_t kWindow = int64_t{kThreads} * Group<Score>::kSize;

}  // namespace sculpt::kernels::cuda::ranking
