#pragma once
// Says which images of a batch each rank computes, and which of them in each part of a step.

#include <cstdint>

namespace sculpt {

/// Neighbouring items of a sequence.
struct Share {
  int64_t first = 0;
  int64_t count = 0;
};

/// Returns the part of `items` that rank `rank` of `ranks` takes. The parts follow one another in
/// the order of the ranks, and their sizes differ by at most one.
constexpr Share share_of(int64_t items, int rank, int ranks) {
  const int64_t first = items * rank / ranks;
  return {first, items * (rank + 1) / ranks - first};
}

/// Returns the size of the largest part.
constexpr int64_t largest_share(int64_t items, int ranks) {
  return (items + ranks - 1) / ranks;
}

/// A part of a step. A batch is computed in `count` parts, one after another, whose sizes differ by
/// at most one. The ranks share each part.
struct StepPart {
  int index = 0;
  int count = 1;

  bool is_first() const { return index == 0; }
  bool is_last() const { return index + 1 == count; }
};

/// Returns the images of a batch of `images` that a rank computes in a part.
constexpr Share share_of_part(int64_t images, const StepPart& part, int rank, int ranks) {
  const Share whole = share_of(images, part.index, part.count);
  const Share own = share_of(whole.count, rank, ranks);
  return {whole.first + own.first, own.count};
}

/// Returns the number of images that a rank computes in the parts before this one.
constexpr int64_t images_before(int64_t images, const StepPart& part, int rank, int ranks) {
  int64_t before = 0;
  for (int index = 0; index < part.index; ++index)
    before += share_of_part(images, {index, part.count}, rank, ranks).count;
  return before;
}

}  // namespace sculpt
