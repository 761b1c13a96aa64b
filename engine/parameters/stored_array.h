#pragma once
// The memory layouts of the parameter arenas. In the dense layout every parameter has all of its
// elements. In a packed layout, a parameter whose kernels touch only kept weights has values for
// its kept elements only, in ascending order of index; all other parameters have all of their
// elements. The same passes then run over shorter arrays.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/core/mirrored_buffer.h"

namespace sculpt {

/// The position of one parameter in a layout.
struct ParameterLayout {
  int64_t dense_offset = 0;  ///< first element in the dense layout: its global index
  int64_t dense_count = 0;
  int64_t offset = 0;  ///< first value in this layout
  int64_t count = 0;
  std::vector<bool> kept;  ///< per element: whether it has a value; empty: all elements have one

  bool operator==(const ParameterLayout&) const = default;
};

/// The layout of all parameters, in registration order and without gaps.
class ArenaLayout {
 public:
  /// Appends a parameter with all of its elements.
  void add(int64_t count);
  /// Appends a parameter with the elements whose mask is not 0.
  void add_kept(std::span<const uint8_t> mask);

  const ParameterLayout& operator[](size_t id) const { return parameters_[id]; }
  std::span<const ParameterLayout> parameters() const { return parameters_; }
  /// The number of values of all parameters in this layout, and in the dense layout.
  int64_t count() const { return count_; }
  int64_t dense_count() const { return dense_count_; }
  /// Returns true if every element has a value.
  bool dense() const;
  /// Bytes of this description itself.
  size_t bytes() const;

  bool operator==(const ArenaLayout&) const = default;

 private:
  ParameterLayout& append(int64_t dense_count);

  std::vector<ParameterLayout> parameters_;
  int64_t dense_count_ = 0;
  int64_t count_ = 0;
};

/// An arena that converts to the requested layout. It is zero at first; on the host, its memory is
/// only allocated when it is first requested.
class StoredArray {
 public:
  using SharedLayout = std::shared_ptr<const ArenaLayout>;

  StoredArray() = default;
  /// Elements have 4 or 8 bytes. Where kernels have a memory of their own, that memory is allocated
  /// at once.
  StoredArray(const char* what, size_t element_bytes, const kernels::DeviceMemory* memory,
              SharedLayout layout);

  /// Returns the values in `layout`. A change of layout drops the values that have no place in the
  /// new layout, and sets values that had no place in the old one to +0. Pointers into the array
  /// are valid until the layout changes. The layout must not change while other threads call this
  /// function.
  MirroredBuffer& in(const SharedLayout& layout) const;

  void zero();
  /// Bytes of one copy in the current layout.
  size_t bytes() const { return buffer_.bytes(); }

 private:
  MirroredBuffer allocated(int64_t count) const;
  template <class T>
  void convert(const ArenaLayout& layout) const;

  const char* what_ = "";
  size_t element_bytes_ = 0;
  const kernels::DeviceMemory* memory_ = nullptr;
  mutable SharedLayout layout_;
  mutable MirroredBuffer buffer_;
};

}  // namespace sculpt
