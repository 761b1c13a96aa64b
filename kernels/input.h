#pragma once
// Into and out of a backend's activation layout. Images of the host are plain NCHW without gaps.

#include "kernels/common/layout.h"

namespace sculpt::kernels {

struct InputKernels {
  /// x[n,c,h,w] := (images[n,c,h,w] / 255 - mean[c]) / std[c]; computed as u8 * scale + shift.
  /// mean, std: [channels]. Padded lanes become 0.
  void (*load_u8)(void* x, const uint8_t* images, const float* mean, const float* std,
                  const ActivationShape& shape, const Launch& launch);
  /// x := values (NCHW float). Padded lanes become 0.
  void (*load_f32)(void* x, const float* values, const ActivationShape& shape,
                   const Launch& launch);
  /// values (NCHW float) := x.
  void (*store_f32)(float* values, const void* x, const ActivationShape& shape,
                    const Launch& launch);
};

}  // namespace sculpt::kernels
