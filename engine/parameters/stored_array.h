#pragma once
// How the arenas of parameters lie in memory. In the dense layout every parameter has all of its
// elements. In a packed layout a parameter whose kernels touch only kept weights has a value for
// each of these, in the order of their indices, and the others have all of theirs: the same passes
// then run over shorter arrays.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/core/mirrored_buffer.h"

namespace sculpt {

/// One parameter in some layout.
struct ParameterLayout {
  int64_t dense_offset = 0;  ///< first element in the dense layout: its global index
  int64_t dense_count = 0;
  int64_t offset = 0;  ///< first value in this layout
  int64_t count = 0;
  std::vector<bool> kept;  ///< per element: does it have a value? Empty: all have

  bool operator==(const ParameterLayout&) const = default;
};

/// Of all parameters, in registration order and without gaps.
class ArenaLayout {
 public:
  /// Appends a parameter with all of its elements,
  void add(int64_t count);
  /// or with those whose mask is not 0.
  void add_kept(std::span<const uint8_t> mask);

  const ParameterLayout& operator[](size_t id) const { return parameters_[id]; }
  std::span<const ParameterLayout> parameters() const { return parameters_; }
  /// Values of all parameters; in the dense layout.
  int64_t count() const { return count_; }
  int64_t dense_count() const { return dense_count_; }
  /// Has every element a value?
  bool dense() const;
  /// Bytes of this description.
  size_t bytes() const;

  bool operator==(const ArenaLayout&) const = default;

 private:
  ParameterLayout& append(int64_t dense_count);

  std::vector<ParameterLayout> parameters_;
  int64_t dense_count_ = 0;
  int64_t count_ = 0;
};

/// An arena that takes the layout that is asked for. Zero at first; on the host it then has no
/// memory until it is asked for.
class StoredArray {
 public:
  using Layout = std::shared_ptr<const ArenaLayout>;

  StoredArray() = default;
  /// Elements of 4 or 8 bytes. Where kernels have a memory of their own it is allocated at once.
  StoredArray(const char* what, size_t element_bytes, const kernels::DeviceMemory* memory,
              Layout layout);

  /// The values in this layout. Changing it drops what the new layout has no place for and sets to
  /// +0 what the old one had none for; pointers into the array are good until then. Not to be
  /// changed while other threads ask.
  MirroredBuffer& in(const Layout& layout) const;

  void zero();
  /// Bytes of one copy in its present layout.
  size_t bytes() const { return buffer_.bytes(); }

 private:
  MirroredBuffer allocated(int64_t count) const;
  template <class T>
  void convert(const ArenaLayout& layout) const;

  const char* what_ = "";
  size_t element_bytes_ = 0;
  const kernels::DeviceMemory* memory_ = nullptr;
  mutable Layout layout_;
  mutable MirroredBuffer buffer_;
};

}  // namespace sculpt
