#pragma once
// Ranking: selects the k highest of n scores, exactly and without sorting. The scores are one
// array, or several segments of an array, each with its own k.
//
// Scores are mapped to unsigned integers of the same order (negative scores too; -0 counts as +0).
// The k-th highest is found by radix select: histograms of 11, 11 and 10 bits (6 passes for
// double), then one pass that writes the mask. Ties go to the lower index. The result does not
// depend on the thread count.

#include <cstddef>
#include <cstdint>
#include <span>

namespace sculpt::kernels {

/// Reports what select_top_k found wrong, if anything.
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

/// The same selection for all segments at once, in a backend's memory. Segments are in order and do
/// not overlap; elements between segments are not touched. `candidate` may be null (all are
/// candidates).
///
/// Both functions return after the mask has been written. A NaN in any segment leaves the whole
/// mask untouched. If a segment has fewer candidates than its `keep`, the functions throw Error and
/// the contents of the mask are unspecified.
struct RankingKernels {
  RankingResult (*select_f32)(uint8_t* keep, const float* scores, const uint8_t* candidate,
                              std::span<const RankingSegment> segments, void* workspace,
                              void* stream);
  RankingResult (*select_f64)(uint8_t* keep, const double* scores, const uint8_t* candidate,
                              std::span<const RankingSegment> segments, void* workspace,
                              void* stream);
  /// Bytes of workspace for `segments` segments with `count` scores in all.
  size_t (*workspace_bytes)(int64_t count, int64_t segments);
};

}  // namespace sculpt::kernels
