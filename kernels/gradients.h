#pragma once
// Kernels on arrays of gradients. Ranks copy between a short array and the listed elements of a
// long one, to exchange the gradients of kept weights only. The parts of a step add up their
// gradients.
//
// Elements have Backend::parameter_bytes. Indices are ascending, and no index occurs twice. All
// pointers point into the backend's memory; the arrays do not overlap. Each kernel is one pass over
// `count` elements, bound by memory bandwidth.

#include <cstdint>

namespace sculpt::kernels {

struct GradientKernels {
  /// few[j] := many[indices[j]] for j in [0, count).
  void (*gather)(void* few, const void* many, const int32_t* indices, int64_t count, void* stream);
  /// many[indices[j]] := few[j] for j in [0, count). Other elements keep their values.
  void (*scatter)(void* many, const void* few, const int32_t* indices, int64_t count, void* stream);
  /// sum[j] += terms[j] for j in [0, count).
  void (*add)(void* sum, const void* terms, int64_t count, void* stream);
};

}  // namespace sculpt::kernels
