#pragma once
// A StoredArray has a value per element of all parameters, and is stored in one of the layouts of
// arena_layout.h. The layout changes only when convert() is called.

#include "engine/core/mirrored_buffer.h"
#include "engine/parameters/arena_layout.h"

namespace sculpt {

/// The values are zero at first. On the host, the memory is allocated when the values are first
/// requested.
class StoredArray {
 public:
  StoredArray() = default;
  /// Elements have 4 or 8 bytes. If kernels have a memory of their own, that memory is allocated at
  /// once.
  StoredArray(const char* what, size_t element_bytes, const kernels::DeviceMemory* memory,
              SharedLayout layout);

  /// Changes the layout. Values that have no place in the new layout are dropped, and values that
  /// had no place in the old one become +0. Pointers into the array are invalid afterwards.
  void convert(const SharedLayout& layout);
  const SharedLayout& layout() const { return layout_; }

  const MirroredBuffer& values() const { return allocated(); }
  MirroredBuffer& edit_values() { return allocated(); }

  void zero();
  /// Returns the bytes of one copy in the current layout; 0 before the memory is allocated.
  size_t bytes() const { return buffer_.bytes(); }

 private:
  MirroredBuffer& allocated() const;
  MirroredBuffer buffer_for(int64_t count) const;
  template <class T>
  void convert_values(const ArenaLayout& to);

  const char* what_ = "";
  size_t element_bytes_ = 0;
  const kernels::DeviceMemory* memory_ = nullptr;
  SharedLayout layout_;
  mutable MirroredBuffer buffer_;  // empty: not allocated yet, which reads as zeros
};

}  // namespace sculpt
