#pragma once
// Layers of networks at the sizes of their training steps, and random numbers for them.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "engine/core/buffer.h"
#include "kernels/common/philox.h"
#include "kernels/device/library_interface.h"
#include "tests/kernels/conv2d_case.h"

namespace sculpt::kernels::test {

/// Square images and windows.
struct Layer {
  const char* network;
  int64_t batch, in, size, out, kernel, stride, padding;
};

// Every kind of layer once: the first, which has 3 channels, wide and narrow ones, strides, 1 x 1
// windows, and the classifier.
inline constexpr Layer kResNet20[] = {
    {"ResNet-20", 512, 3, 32, 16, 3, 1, 1},  {"ResNet-20", 512, 16, 32, 16, 3, 1, 1},
    {"ResNet-20", 512, 16, 32, 32, 3, 2, 1}, {"ResNet-20", 512, 16, 32, 32, 1, 2, 0},
    {"ResNet-20", 512, 32, 16, 32, 3, 1, 1}, {"ResNet-20", 512, 32, 16, 64, 3, 2, 1},
    {"ResNet-20", 512, 64, 8, 64, 3, 1, 1},  {"ResNet-20", 512, 64, 1, 10, 1, 1, 0}};
inline constexpr Layer kResNet18[] = {
    {"ResNet-18", 512, 3, 32, 64, 3, 1, 1},   {"ResNet-18", 512, 64, 32, 64, 3, 1, 1},
    {"ResNet-18", 512, 64, 32, 128, 3, 2, 1}, {"ResNet-18", 512, 128, 16, 128, 3, 1, 1},
    {"ResNet-18", 512, 256, 8, 256, 3, 1, 1}, {"ResNet-18", 512, 256, 8, 512, 1, 2, 0},
    {"ResNet-18", 512, 512, 4, 512, 3, 1, 1}, {"ResNet-18", 512, 512, 1, 10, 1, 1, 0}};
inline constexpr Layer kResNet50[] = {
    {"ResNet-50", 128, 3, 224, 64, 7, 2, 3},   {"ResNet-50", 128, 64, 56, 64, 3, 1, 1},
    {"ResNet-50", 128, 512, 28, 128, 1, 1, 0}, {"ResNet-50", 128, 128, 56, 128, 3, 2, 1},
    {"ResNet-50", 128, 512, 7, 512, 3, 1, 1},  {"ResNet-50", 128, 1024, 14, 2048, 1, 2, 0},
    {"ResNet-50", 128, 2048, 1, 1000, 1, 1, 0}};

#if defined(SCULPT_CUDA_ON_HOST)
// Small enough for seconds.
inline Layer reduced(Layer layer) {
  layer.batch = layer.in * layer.out < 65536 ? 2 : 1;
  layer.size = std::min<int64_t>(layer.size, std::max<int64_t>(5, 2048 / (layer.in + layer.out)));
  layer.size = std::min<int64_t>(layer.size, 17);
  return layer;
}
#else
inline Layer reduced(const Layer& layer) {
  return layer;
}
#endif

using Floats = std::vector<float>;

/// Returns numbers that are uniform in [-1, 1) and truncated to what the precision multiplies, so
/// that all kernels have the same factors.
inline Floats random_floats(int64_t count, uint64_t seed, const std::string& precision) {
  const uint32_t kept = precision == "bf16"   ? 0xffff0000u
                        : precision == "tf32" ? 0xffffe000u
                                              : 0xffffffffu;
  Floats values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); i += 4) {
    const auto words = philox4x32(seed, i, 0);
    for (size_t j = i; j < std::min(i + 4, values.size()); ++j) {
      const auto value = static_cast<float>(2 * philox_uniform(words[j - i]) - 1);
      values[j] = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & kept);
    }
  }
  return values;
}

using sculpt::Buffer;

/// Copies numbers to a GPU, as float or, with element_bytes == 2, as bf16, which holds them
/// exactly.
inline Buffer to_device(const Backend& backend, const Floats& values, size_t element_bytes) {
  Buffer buffer(values.size() * element_bytes, "a test's array", backend.memory);
  if (element_bytes == sizeof(float)) {
    backend.memory->copy_in(buffer.data(), values.data(), buffer.bytes());
    return buffer;
  }
  std::vector<uint16_t> halves(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    halves[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[i]) >> 16);
  backend.memory->copy_in(buffer.data(), halves.data(), buffer.bytes());
  return buffer;
}

/// Copies numbers back.
inline Floats from_device(const Backend& backend, const Buffer& buffer, size_t element_bytes) {
  Floats values(buffer.bytes() / element_bytes);
  if (element_bytes == sizeof(float)) {
    backend.memory->copy_out(values.data(), buffer.data(), buffer.bytes());
    return values;
  }
  std::vector<uint16_t> halves(values.size());
  backend.memory->copy_out(halves.data(), buffer.data(), buffer.bytes());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::bit_cast<float>(uint32_t{halves[i]} << 16);
  return values;
}

/// The arrays of a layer: activations in NHWC, the weight in the order O, kh, kw, I.
struct LayerProblem {
  LayerProblem(const Layer& of, const std::string& in_precision)
      : layer(reduced(of)),
        precision(in_precision),
        shape(make_shape({layer.batch, layer.in, layer.size, layer.size, layer.out, layer.kernel,
                          layer.kernel, layer.stride, layer.padding})),
        x(random_floats(layer.batch * shape.in.elements_per_image(), 1, precision)),
        dy(random_floats(layer.batch * shape.out.elements_per_image(), 2, precision)),
        weight(random_floats(shape.weight_count(), 3, precision)) {}

  /// Returns the number of products in one result whose window lies within the image.
  int64_t length(ConvPass pass) const {
    const int64_t taps = shape.kernel_h * shape.kernel_w;
    if (pass == ConvPass::weight_grad) return layer.batch * shape.out.height * shape.out.width;
    return taps * (pass == ConvPass::forward ? layer.in : layer.out);
  }
  /// Returns the name of the pass in tables of choices.
  std::string name(ConvPass pass) const {
    return fmt::format(
        "{} {} {}x{}x{} to {}x{}x{}, kernel {}x{}, stride {}, padding {}, groups 1, batch {}",
        precision, name_of(pass), shape.in.channels, shape.in.height, shape.in.width,
        shape.out.channels, shape.out.height, shape.out.width, shape.kernel_h, shape.kernel_w,
        shape.stride, shape.padding, layer.batch);
  }

  Layer layer;
  std::string precision;
  Conv2dShape shape;
  Floats x, dy, weight;
};

}  // namespace sculpt::kernels::test
