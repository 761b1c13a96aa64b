// Conversion into and out of NHWC, and augmentation of a resident training set. Each image is read
// once and written once.

#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

template <class T>
__device__ T normalised(uint8_t value, float mean, float std) {
  const float scale = 1.0f / (255.0f * std);
  const float shift = -mean / std;
  return from_float<T>(fmaf(static_cast<float>(value), scale, shift));
}

/// One thread computes one pixel, because images have few channels. A warp then reads neighbouring
/// bytes of a plane and writes one contiguous stretch of x.
template <class T>
__global__ void __launch_bounds__(kThreads)
    normalise_images(T* x, const uint8_t* images, const float* mean, const float* std, int channels,
                     int pixels) {
  follow_previous_kernels();
  const int pixel = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (pixel >= pixels) return;
  const int64_t image = static_cast<int64_t>(blockIdx.x) * channels * pixels;
  const uint8_t* from = images + image + pixel;
  T* to = x + image + static_cast<int64_t>(pixel) * channels;
  for (int c = 0; c < channels; ++c)
    to[c] = normalised<T>(from[static_cast<int64_t>(c) * pixels], mean[c], std[c]);
}

/// One thread computes one pixel of a batch. All threads of an image compute the same draw.
template <class T>
__global__ void __launch_bounds__(kThreads)
    augment_images(T* x, int32_t* labels, const ResidentSet set, const ResidentBatch* batch,
                   int channels, int height, int width) {
  follow_previous_kernels();
  const int pixel = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (pixel >= height * width) return;
  const int64_t n = blockIdx.x;
  const int64_t index = set.order[batch->first + n];
  if (pixel == 0) labels[n] = set.labels[index];

  const AugmentRule& rule = set.augment;
  const AugmentDraw draw =
      draw_augmentation(rule, height, width, batch->epoch, static_cast<uint64_t>(index));
  const int row = pixel / width, column = pixel % width;
  int from_row = row + draw.dy;
  int from_column = (draw.mirror ? width - 1 - column : column) + draw.dx;
  if (rule.crop_fill == CropFill::reflect) {
    from_row = reflected(from_row, height);
    from_column = reflected(from_column, width);
  }
  const bool inside = from_row >= 0 && from_row < height && from_column >= 0 && from_column < width;
  const int top = draw.cut_y - rule.cutout / 2, left = draw.cut_x - rule.cutout / 2;
  const bool erased =
      row >= top && row < top + rule.cutout && column >= left && column < left + rule.cutout;
  const bool padded_with_mean = rule.crop_fill == CropFill::mean;
  const int plane = height * width;
  const uint8_t* from = set.images + index * channels * plane + from_row * width + from_column;
  T* to = x + (n * plane + pixel) * channels;
  for (int c = 0; c < channels; ++c) {
    const uint8_t value = erased || (!inside && padded_with_mean) ? set.fill[c]
                          : inside                                ? from[c * plane]
                                                                  : uint8_t{0};
    to[c] = normalised<T>(value, set.mean[c], set.std[c]);
  }
}

template <class T>
void load_u8(void* x, const uint8_t* images, const float* mean, const float* std,
             const ActivationShape& shape, const Launch& launch) {
  const int64_t pixels = shape.height * shape.width;
  const dim3 grid(static_cast<unsigned>(launch.batch),
                  static_cast<unsigned>(ceil_div(pixels, kThreads)));
  SCULPT_LAUNCH((normalise_images<T>), grid, dim3(kThreads), 0, launch.stream, static_cast<T*>(x),
                images, mean, std, static_cast<int>(shape.channels), static_cast<int>(pixels));
}

template <class T>
void load_resident(void* x, int32_t* labels, const ResidentSet& set, const ResidentBatch* batch,
                   const ActivationShape& shape, const Launch& launch) {
  const dim3 grid(static_cast<unsigned>(launch.batch),
                  static_cast<unsigned>(ceil_div(shape.height * shape.width, kThreads)));
  SCULPT_LAUNCH((augment_images<T>), grid, dim3(kThreads), 0, launch.stream, static_cast<T*>(x),
                labels, set, batch, static_cast<int>(shape.channels),
                static_cast<int>(shape.height), static_cast<int>(shape.width));
}

template <class T>
void load_f32(void* x, const float* values, const ActivationShape& shape, const Launch& launch) {
  transpose<T, float>(x, values, shape.channels, shape.height * shape.width, GradWrite::overwrite,
                      launch);
}

template <class T>
void store_f32(float* values, const void* x, const ActivationShape& shape, const Launch& launch) {
  transpose<float, T>(values, x, shape.height * shape.width, shape.channels, GradWrite::overwrite,
                      launch);
}

}  // namespace

template <class T>
InputKernels input_kernels() {
  return {load_u8<T>, load_f32<T>, store_f32<T>, load_resident<T>};
}
template InputKernels input_kernels<float>();
template InputKernels input_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
