#pragma once
// Ranking: selects the k highest scores of each segment of an array, exactly and without sorting.
// Each segment has its own k.
//
// Scores are mapped to unsigned integers of the same order (negative scores too; -0 counts as +0).
// The k-th highest is found by radix select: histograms of 11, 11 and 10 bits (6 passes for
// double), then one pass that writes the mask. Ties go to the lower index. The result does not
// depend on the thread count.

#include <cstddef>
#include <cstdint>
#include <span>

namespace sculpt::kernels {

/// Reports what a selection found wrong, if anything.
struct RankingResult {
  /// Index of the first NaN among the candidates of all segments; -1 if there is none.
  int64_t first_nan = -1;
};

/// Scores [offset, offset + count), ranked among themselves.
struct RankingSegment {
  int64_t offset = 0;
  int64_t count = 0;
  int64_t keep = 0;  ///< k
};

/// Both selections keep exactly k of the candidates of each segment, for all segments at once: the
/// mask keep[i] becomes 1 for the k highest scores with candidate[i] != 0, and 0 for all others.
/// `candidate` may be null (all scores are candidates), and `keep` may alias it. Segments are in
/// order and do not overlap; elements between segments are not touched. All arrays lie in the
/// backend's memory.
///
/// Both functions return after the mask has been written. A NaN among the candidates leaves the
/// whole mask untouched. If k is negative, or if a segment has fewer candidates than k, the
/// functions throw Error and the contents of the mask are unspecified.
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
