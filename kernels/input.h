#pragma once
// Conversion into and out of a backend's activation layout. Images on the host are plain NCHW
// without gaps.

#include "kernels/common/augmentation.h"
#include "kernels/common/layout.h"

namespace sculpt::kernels {

/// A training set in the backend's memory, and how its images are augmented and normalised.
struct ResidentSet {
  const uint8_t* images = nullptr;  ///< [count][channels][height][width]
  const int32_t* labels = nullptr;  ///< [count]
  const int32_t* order = nullptr;   ///< [count]: the images of an epoch, one after the other
  const uint8_t* fill = nullptr;    ///< [channels]: the mean colour (erased squares, CropFill)
  const float* mean = nullptr;      ///< [channels], as for load_u8
  const float* std = nullptr;       ///< [channels]
  AugmentRule augment;
};

/// Identifies a batch of a resident set. The struct lies in the backend's memory.
struct ResidentBatch {
  uint64_t epoch = 0;
  int64_t first = 0;  ///< index of the batch's first image in `order`
};

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
  /// x[n] := image order[first + n] of the set. The image is augmented for the epoch, with the same
  /// bytes as data/transforms/augment.h computes, and normalised as by load_u8. labels[n] := the
  /// label of that image; labels: [batch]. The pointer is null where the host prepares the batches.
  void (*load_resident)(void* x, int32_t* labels, const ResidentSet& set,
                        const ResidentBatch* batch, const ActivationShape& shape,
                        const Launch& launch) = nullptr;
};

}  // namespace sculpt::kernels
