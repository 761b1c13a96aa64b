#pragma once
// Ranking: the k highest of n scores, exactly, without sorting; of one array or of several segments
// of it, each with a k of its own.
//
// Scores are mapped to unsigned integers that order like them (negative ones too; -0 counts as +0)
// and the k-th is found by radix select: histograms of 11, 11 and 10 bits (6 passes for double),
// then one pass that writes the mask. Ties are broken by lower index. Deterministic for any thread
// count.

#include <cstddef>
#include <cstdint>
#include <span>

namespace sculpt::kernels {

/// What select_top_k found wrong, if anything.
struct RankingResult {
  int64_t first_nan =
      -1;  ///< index of the first NaN among the candidates; the mask is then untouched
};

/// Keeps exactly k of the candidates: keep[i] = 1 for the k highest scores with candidate[i] != 0,
/// and 0 for all others. `candidate` may be empty (all are). keep may alias candidate. Requires 0
/// <= k <= number of candidates (throws Error otherwise).
RankingResult select_top_k(std::span<uint8_t> keep, std::span<const float> scores,
                           std::span<const uint8_t> candidate, int64_t k);
RankingResult select_top_k(std::span<uint8_t> keep, std::span<const double> scores,
                           std::span<const uint8_t> candidate, int64_t k);

/// Scores [offset, offset + count), ranked among themselves.
struct RankingSegment {
  int64_t offset = 0;
  int64_t count = 0;
  int64_t keep = 0;  ///< k
};

/// The same for all segments at once, in a backend's memory. Segments are in order and do not
/// overlap; what lies between them is left alone. `candidate` may be null (all are).
///
/// Return when the mask is written. A NaN in any segment leaves the whole mask untouched; a segment
/// with fewer candidates than it is to keep throws Error and leaves `keep` in no particular state.
struct RankingKernels {
  RankingResult (*select_f32)(uint8_t* keep, const float* scores, const uint8_t* candidate,
                              std::span<const RankingSegment> segments, void* workspace,
                              void* stream);
  RankingResult (*select_f64)(uint8_t* keep, const double* scores, const uint8_t* candidate,
                              std::span<const RankingSegment> segments, void* workspace,
                              void* stream);
  /// For `segments` segments with `count` scores in all.
  size_t (*workspace_bytes)(int64_t count, int64_t segments);
};

}  // namespace sculpt::kernels
