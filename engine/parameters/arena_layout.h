#pragma once
// The parameter arenas have two kinds of memory layouts. In the dense layout every parameter has
// all of its elements. In a packed layout, a parameter whose kernels touch only kept weights has
// values for its kept elements only, in ascending order of index; all other parameters have all of
// their elements. The same passes then run over shorter arrays.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/parameters/kept_pattern.h"

namespace sculpt {

/// The position of one parameter in a layout.
struct ParameterLayout {
  int64_t dense_offset = 0;  ///< first element in the dense layout: its global index
  int64_t dense_count = 0;
  int64_t offset = 0;  ///< first value in this layout
  int64_t count = 0;
  bool packed = false;  ///< has values for the kept elements only
};

/// The layout of all parameters, in registration order and without gaps.
class ArenaLayout {
 public:
  /// Makes the dense layout of parameters with so many elements.
  explicit ArenaLayout(std::span<const int64_t> counts);
  /// Makes a layout that stores the parameters `packed`, which must be in ascending order, without
  /// the elements that the pattern masks.
  ArenaLayout(SharedPattern pattern, std::span<const ParameterId> packed);

  const ParameterLayout& operator[](size_t id) const { return parameters_[id]; }
  size_t size() const { return parameters_.size(); }
  /// Both functions return the number of values of all parameters: in this layout, and in the dense
  /// layout.
  int64_t count() const { return count_; }
  int64_t dense_count() const { return dense_count_; }
  /// Returns true if every element has a value.
  bool dense() const { return packed_.empty(); }
  /// Returns true if this is the layout of the pattern (the same object) and of these parameters.
  bool is(const SharedPattern& pattern, std::span<const ParameterId> packed) const;

  /// Returns the mask of the values of a layout that is not dense: a byte per value. The result is
  /// empty if no value is masked.
  std::span<const uint8_t> masks() const { return masks_; }

  /// Copies the values of `from`, which are in this layout, to the dense array `to`. Elements
  /// without a value become +0.
  template <class T>
  void expand(T* to, const T* from) const;
  /// Copies the values that this layout has from the dense array `from` to `to`.
  template <class T>
  void pack(T* to, const T* from) const;

  /// Returns the bytes of this description itself, without the pattern.
  size_t bytes() const { return parameters_.size() * sizeof(ParameterLayout) + masks_.size(); }

 private:
  void add(int64_t dense_count, int64_t count, bool packed);
  void gather_masks();

  SharedPattern pattern_;  // null: the dense layout
  std::vector<ParameterId> packed_;
  std::vector<ParameterLayout> parameters_;
  std::vector<uint8_t> masks_;
  int64_t dense_count_ = 0;
  int64_t count_ = 0;
};

using SharedLayout = std::shared_ptr<const ArenaLayout>;

}  // namespace sculpt
