#pragma once
// How the arenas of parameters lie in memory. In the dense form every parameter has all of its
// elements. In a compact form a parameter whose kernels touch only kept weights has a value for
// each of these, in the order of their indices, and the others have all of theirs: the same passes
// then run over shorter arrays.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/core/mirrored_buffer.h"

namespace sculpt {

/// One parameter in some form.
struct StoredParameter {
  int64_t dense_offset = 0;  ///< first element in the dense form: its global index
  int64_t dense_count = 0;
  int64_t offset = 0;  ///< first value in this form
  int64_t count = 0;
  std::vector<bool> kept;  ///< per element: does it have a value? Empty: all have

  bool operator==(const StoredParameter&) const = default;
};

/// Of all parameters, in registration order and without gaps.
class StoredForm {
 public:
  /// Appends a parameter with all of its elements,
  void add(int64_t count);
  /// or with those whose mask is not 0.
  void add_kept(std::span<const uint8_t> mask);

  const StoredParameter& operator[](size_t id) const { return parameters_[id]; }
  std::span<const StoredParameter> parameters() const { return parameters_; }
  /// Values of all parameters; in the dense form.
  int64_t count() const { return count_; }
  int64_t dense_count() const { return dense_count_; }
  /// Has every element a value?
  bool dense() const;
  /// Bytes of this description.
  size_t bytes() const;

  bool operator==(const StoredForm&) const = default;

 private:
  StoredParameter& append(int64_t dense_count);

  std::vector<StoredParameter> parameters_;
  int64_t dense_count_ = 0;
  int64_t count_ = 0;
};

/// An arena that takes the form that is asked for. Zero at first; on the host it then has no
/// memory until it is asked for.
class StoredArray {
 public:
  using Form = std::shared_ptr<const StoredForm>;

  StoredArray() = default;
  /// Elements of 4 or 8 bytes. Where kernels have a memory of their own it is allocated at once.
  StoredArray(const char* what, size_t element_bytes, const kernels::DeviceMemory* memory,
              Form form);

  /// The values in this form. Changing it drops what the new form has no place for and sets to +0
  /// what the old one had none for; pointers into the array are good until then. Not
  /// to be changed while other threads ask.
  MirroredBuffer& in(const Form& form) const;

  void zero();
  /// Bytes of one copy in its present form.
  size_t bytes() const { return buffer_.bytes(); }

 private:
  MirroredBuffer allocated(int64_t count) const;
  template <class T>
  void convert(const StoredForm& form) const;

  const char* what_ = "";
  size_t element_bytes_ = 0;
  const kernels::DeviceMemory* memory_ = nullptr;
  mutable Form form_;
  mutable MirroredBuffer buffer_;
};

}  // namespace sculpt
