#pragma once
// Global ranking: the k highest of n scores, exactly, without sorting.
//
// Scores are mapped to unsigned integers that order like them (negative ones too; -0 counts as +0)
// and the k-th is found by radix select: histograms of 11, 11 and 10 bits (6 passes for double),
// then one pass that writes the mask. Ties are broken by lower index. Deterministic for any thread
// count.

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

/// The same on a device, for float scores; all pointers in its memory.
struct RankingKernels {
  size_t (*workspace_bytes)(int64_t count) = nullptr;
  /// candidate may be null (all are), and keep may alias it. Returns when the mask is written,
  /// which is what makes it usable on the host; throws Error as the host's functions do.
  RankingResult (*select_top_k)(uint8_t* keep, const float* scores, const uint8_t* candidate,
                                int64_t count, int64_t k, void* workspace, void* stream) = nullptr;
};

}  // namespace sculpt::kernels
