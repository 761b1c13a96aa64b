// Into and out of NHWC. Bytes moved: each image is read once and written once.

#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

/// One thread per pixel, as images have few channels: a warp reads neighbouring bytes of a plane
/// and writes one stretch of x.
template <class T>
__global__ void __launch_bounds__(kThreads)
    normalise_images(T* x, const uint8_t* images, const float* mean, const float* std, int channels,
                     int pixels) {
  const int pixel = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (pixel >= pixels) return;
  const int64_t image = static_cast<int64_t>(blockIdx.x) * channels * pixels;
  const uint8_t* from = images + image + pixel;
  T* to = x + image + static_cast<int64_t>(pixel) * channels;
  for (int c = 0; c < channels; ++c) {
    const float scale = 1.0f / (255.0f * std[c]);
    const float shift = -mean[c] / std[c];
    const float value = from[static_cast<int64_t>(c) * pixels];
    to[c] = from_float<T>(fmaf(value, scale, shift));
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
  return {load_u8<T>, load_f32<T>, store_f32<T>};
}
template InputKernels input_kernels<float>();
template InputKernels input_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
