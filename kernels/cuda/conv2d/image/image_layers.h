#pragma once
// Convolutions whose images fit into the shared memory of a block: bf16, 3 x 3 windows, stride 1,
// padding 1, as many output as input channels (16, 32 or 64), and small planes, as in the three
// stages of ResNet-20. A block keeps one or a few whole images in shared memory. An image is then
// read from the GPU's memory once, and not once per tap through the caches, and the address of a
// tap is a constant. docs/cuda.md follows an image through the forward kernel.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/conv2d.h"
#include "kernels/conv_norm.h"
#include "kernels/cuda/conv2d/splits.h"
#include "kernels/cuda/element.h"

namespace sculpt::kernels::cuda {

/// A kind of layers for which kernels are compiled. Its images have kChannels channels, and heights
/// and widths of at most kSide - 2.
template <int kChannels_, int kSide_, int kImages_, int kWarps_, int kSplits_>
struct ImageLayer {
  static constexpr int kChannels = kChannels_;
  static constexpr int kSide = kSide_;
  /// The number of images of a block of the forward kernel. A thread loads its weights once for all
  /// of them.
  static constexpr int kImages = kImages_;
  /// The number of warps of a block of the forward kernel.
  static constexpr int kWarps = kWarps_;
  /// The wanted number of partial weight gradients. More of them occupy more multiprocessors, and
  /// cost more memory traffic.
  static constexpr int kSplits = kSplits_;
};
using Image16 = ImageLayer<16, 34, 1, 8, 256>;
using Image32 = ImageLayer<32, 18, 2, 8, 128>;
using Image64 = ImageLayer<64, 10, 2, 4, 64>;

/// Returns true if the windows have 3 x 3 pixels and move by one, and the planes keep their size.
inline bool has_plain_windows(const Conv2dShape& shape) {
  return shape.kernel_h == 3 && shape.kernel_w == 3 && shape.stride == 1 && shape.padding == 1 &&
         shape.groups == 1;
}

/// Calls body(ImageLayer{}) with the first layer that fits the shape. Returns false, without a
/// call, if none does.
template <class Body>
bool with_image_layer(const Conv2dShape& shape, const Body& body) {
  const bool same = has_plain_windows(shape) && shape.in.channels == shape.out.channels;
  const auto take = [&](auto layer) {
    using Layer = decltype(layer);
    const bool fits = same && shape.in.channels == Layer::kChannels &&
                      std::max(shape.in.height, shape.in.width) <= Layer::kSide - 2;
    if (fits) body(layer);
    return fits;
  };
  return take(Image16{}) || take(Image32{}) || take(Image64{});
}

/// Returns true if the kernels below take the layer. They read neighbouring weights as one word,
/// and activations in 16-byte vectors.
template <class T>
bool runs_on_images(const Conv2dShape& shape, const void* weight = nullptr) {
  return std::is_same_v<T, bf16> && reinterpret_cast<uintptr_t>(weight) % sizeof(uint32_t) == 0 &&
         with_image_layer(shape, [](auto) {});
}

/// The images whose weight gradients a block adds up.
inline Splits image_splits(const Conv2dShape& shape, int64_t batch) {
  Splits splits{};
  with_image_layer(shape,
                   [&](auto layer) { splits = make_splits(batch, decltype(layer)::kSplits, 1); });
  return splits;
}

/// Returns an upper bound of image_splits(shape, batch).count for all batches up to max_batch; 0 if
/// no layer fits. A smaller batch may have more splits.
inline int64_t most_image_splits(const Conv2dShape& shape, int64_t max_batch) {
  int64_t most = 0;
  with_image_layer(shape,
                   [&](auto layer) { most = max_splits(max_batch, decltype(layer)::kSplits, 1); });
  return most;
}

/// As Conv2dKernels::forward in bf16, for a shape that fits. Sums have one chunk per image.
void image_forward(const ConvForward& args, const Conv2dShape& shape);

/// As ConvNormKernels::forward.
void image_forward_normalised(const ConvNormForward& args, const Conv2dShape& shape);

void image_input_grad(const ConvInputGrad& args, const Conv2dShape& shape);

/// Writes one partial sum per split of the batch: partials[split][o][r][s][c].
void image_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                       const Splits& splits);

}  // namespace sculpt::kernels::cuda
