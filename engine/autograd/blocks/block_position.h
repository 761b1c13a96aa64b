#pragma once
// The part of a batch that a step of a group works on, and the values that lie in scratch while the
// group runs.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sculpt {

/// The scratch memory of one value. Each thread has memory for one block of images.
struct ScratchEntry {
  std::byte* first = nullptr;  ///< the memory of thread 0; null: the value is not in scratch
  bool copied = false;         ///< the value is also copied to memory
  bool band = false;           ///< the memory holds only the rows of the current step
};

/// The values that lie in scratch or are streamed while a group runs. The arrays are indexed by
/// value.
struct GroupScratch {
  std::vector<ScratchEntry> data, gradients;
  std::vector<uint8_t> streamed;  ///< nonzero: stores to the gradient bypass the cache
};

/// The position of a whole batch has no scratch, block 0 and thread 0.
struct BlockPosition {
  const GroupScratch* scratch = nullptr;
  int64_t block = 0;
  int64_t first_row = 0;  ///< first row of the current step
  int thread = 0;         ///< index of the thread that runs the block

  /// Both functions return null if the value is not in scratch.
  const ScratchEntry* data_entry(int value) const {
    return scratch == nullptr ? nullptr : used(scratch->data, value);
  }
  const ScratchEntry* gradient_entry(int value) const {
    return scratch == nullptr ? nullptr : used(scratch->gradients, value);
  }
  bool streams(int value) const {
    return scratch != nullptr && scratch->streamed[static_cast<size_t>(value)] != 0;
  }

 private:
  static const ScratchEntry* used(const std::vector<ScratchEntry>& entries, int value) {
    const ScratchEntry& entry = entries[static_cast<size_t>(value)];
    return entry.first != nullptr ? &entry : nullptr;
  }
};

}  // namespace sculpt
