#include "kernels/input.h"

#include "kernels/cpu/plane.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Transposes one plane of kLanes NCHW images into cells. value(source, channel) converts a pixel.
template <class Source, class Convert>
void load_plane(float* x, const Source* images, const ActivationShape& shape, int64_t used,
                const Convert& convert) {
  const int64_t image_stride = shape.elements_per_image();
  for (int64_t row = 0; row < shape.height; ++row) {
    for (int64_t column = 0; column < shape.width; ++column) {
      const Source* source = images + row * shape.width + column;
      float* cell = x + (row * shape.row_stride() + column) * kLanes;
      for (int64_t lane = 0; lane < used; ++lane)
        cell[lane] = convert(source[lane * image_stride]);
      for (int64_t lane = used; lane < kLanes; ++lane)
        cell[lane] = 0;
    }
  }
}

void load_u8(void* x, const uint8_t* images, const float* mean, const float* std,
             const ActivationShape& shape, const Launch& launch) {
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const int64_t block = plane / shape.channels;
    const int64_t channel = plane % shape.channels;
    const float scale = 1.0f / (255.0f * std[channel]);
    const float shift = -mean[channel] / std[channel];
    const uint8_t* source =
        images + block * kLanes * shape.elements_per_image() + channel * shape.height * shape.width;
    load_plane(static_cast<float*>(x) + plane * shape.plane_stride() * kLanes, source, shape,
               used_lanes(launch.batch, block),
               [=](uint8_t value) { return static_cast<float>(value) * scale + shift; });
  });
}

void load_f32(void* x, const float* values, const ActivationShape& shape, const Launch& launch) {
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const int64_t block = plane / shape.channels;
    const int64_t channel = plane % shape.channels;
    const float* source =
        values + block * kLanes * shape.elements_per_image() + channel * shape.height * shape.width;
    load_plane(static_cast<float*>(x) + plane * shape.plane_stride() * kLanes, source, shape,
               used_lanes(launch.batch, block), [](float value) { return value; });
  });
}

void store_f32(float* values, const void* x, const ActivationShape& shape, const Launch& launch) {
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const int64_t block = plane / shape.channels;
    const int64_t channel = plane % shape.channels;
    const float* in = static_cast<const float*>(x) + plane * shape.plane_stride() * kLanes;
    for (int64_t lane = 0; lane < used_lanes(launch.batch, block); ++lane) {
      float* out = values + ((block * kLanes + lane) * shape.channels + channel) * shape.height *
                                shape.width;
      for (int64_t row = 0; row < shape.height; ++row)
        for (int64_t column = 0; column < shape.width; ++column)
          out[row * shape.width + column] = in[(row * shape.row_stride() + column) * kLanes + lane];
    }
  });
}

}  // namespace

InputKernels input_kernels() {
  return {load_u8, load_f32, store_f32, nullptr};
}

}  // namespace SCULPT_ISA_NAMESPACE
