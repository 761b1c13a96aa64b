#pragma once
// Copies between a short array and the listed elements of a long one. Ranks use these kernels to
// exchange the gradients of kept weights only.
//
// Elements have Backend::parameter_bytes. Indices are ascending, and no index occurs twice. All
// pointers point into the backend's memory; the arrays do not overlap. Each kernel is one pass over
// the short array, bound by memory bandwidth.

#include <cstdint>

namespace sculpt::kernels {

struct IndexedCopyKernels {
  /// few[j] := many[indices[j]] for j in [0, count).
  void (*gather)(void* few, const void* many, const int32_t* indices, int64_t count, void* stream);
  /// many[indices[j]] := few[j] for j in [0, count). Other elements keep their values.
  void (*scatter)(void* many, const void* few, const int32_t* indices, int64_t count, void* stream);
};

}  // namespace sculpt::kernels
