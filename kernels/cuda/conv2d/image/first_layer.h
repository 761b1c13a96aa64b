#pragma once
// The first convolution of a network on small images of three channels: bf16, 3 x 3 windows, stride
// 1, padding 1, and 16, 32 or 64 output channels. Three channels fill no 16-byte vector, so the
// matrix multiplication would load its operand element by element. Here a pixel is given a fourth
// channel of zeros in shared memory, and four pixels of a row of the window, of which the fourth
// has weights of zero, make the 16 values of k of one mma.

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/conv2d/image/image_layers.h"

namespace sculpt::kernels::cuda {

inline constexpr int kFirstChannels = 3;
inline constexpr int kFirstSide = 34;  ///< pixels of a row in shared memory: at most 32 of an image

/// Calls body(std::integral_constant<int, C>{}) with the output channels if the kernels take the
/// layer. Returns false, without a call, if they do not. Images are copied in vectors of
/// 16 bytes, so the number of pixels must be a multiple of 8. Pixels 2 i and 2 i + 1 must lie in
/// one row, so the width must be even.
template <class Body>
bool with_first_layer(const Conv2dShape& shape, const Body& body) {
  const bool fits = has_plain_windows(shape) && shape.in.channels == kFirstChannels &&
                    std::max(shape.in.height, shape.in.width) <= kFirstSide - 2 &&
                    shape.in.height * shape.in.width % 8 == 0 && shape.in.width % 2 == 0;
  if (!fits) return false;
  switch (shape.out.channels) {
    case 16:
      body(std::integral_constant<int, 16>{});
      return true;
    case 32:
      body(std::integral_constant<int, 32>{});
      return true;
    case 64:
      body(std::integral_constant<int, 64>{});
      return true;
    default:
      return false;
  }
}

template <class T>
bool is_first_layer(const Conv2dShape& shape) {
  return std::is_same_v<T, bf16> && with_first_layer(shape, [](auto) {});
}

/// The wanted number of partial weight gradients.
inline constexpr int64_t kFirstSplits = 256;

/// The images whose weight gradients a block adds up.
inline Splits first_layer_splits(int64_t batch) {
  return make_splits(batch, kFirstSplits, 1);
}

/// Returns an upper bound of first_layer_splits(batch).count for all batches up to max_batch; 0 if
/// the layer does not fit.
inline int64_t most_first_layer_splits(const Conv2dShape& shape, int64_t max_batch) {
  return with_first_layer(shape, [](auto) {}) ? max_splits(max_batch, kFirstSplits, 1) : 0;
}

/// As Conv2dKernels::forward in bf16, for a shape that fits. Sums have one chunk per image.
void first_layer_forward(const ConvForward& args, const Conv2dShape& shape);

/// Writes one partial sum per split of the batch: partials[split][o][r][s][c].
void first_layer_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                             const Splits& splits);

}  // namespace sculpt::kernels::cuda
