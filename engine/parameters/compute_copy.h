#pragma once
// The compute copy is a second copy of the weights of convolutions and linear layers, in the type
// and order that the matrix units of a GPU read. Backends without such units have no compute copy.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "engine/parameters/parameter.h"
#include "kernels/device/backend.h"

namespace sculpt {

/// The optimizer's kernels write the copy together with the weights. After host code has written
/// weights, the copy is stale until update().
class ComputeCopy {
 public:
  /// Allocates the copy if the backend has one.
  void allocate(std::span<const Parameter> parameters, const kernels::Backend& backend);

  /// Returns the first element of a weight's copy, counted in elements of the copy; -1 if the
  /// weight has no copy.
  int64_t offset(ParameterId id) const { return offsets_[static_cast<size_t>(id)]; }
  /// Returns the address of a weight's copy. The weight must have a copy, which must not be stale.
  const void* weight(ParameterId id) const;

  void mark_stale() { stale_ = true; }
  bool stale() const { return stale_ && copy_.bytes() > 0; }
  /// Writes the whole copy. `arena` describes the weights.
  void update(kernels::UpdateArena arena);

  std::byte* data() { return copy_.data(); }
  size_t bytes() const { return copy_.bytes(); }

 private:
  const kernels::Backend* backend_ = nullptr;
  std::vector<int64_t> offsets_;  // per parameter
  MirroredBuffer segments_;       // kernels::UpdateSegment of each weight that has a copy
  int64_t segment_count_ = 0;
  Buffer copy_;
  bool stale_ = true;
};

}  // namespace sculpt
