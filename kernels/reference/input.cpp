#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

/// Calls body(nchw_index, layout_index, channel) for every pixel of the batch.
template <class Body>
void for_each_pair(const ActivationShape& s, const Launch& launch, const Body& body) {
  for_each_plane(s.channels, launch.batch, [&](int64_t n, int64_t c) {
    for (int64_t row = 0; row < s.height; ++row)
      for (int64_t column = 0; column < s.width; ++column)
        body(((n * s.channels + c) * s.height + row) * s.width + column, at(s, n, c, row, column),
             c);
  });
}

void load_u8(void* x, const uint8_t* images, const float* mean, const float* std,
             const ActivationShape& shape, const Launch& launch) {
  for_each_pair(shape, launch, [&](int64_t from, int64_t to, int64_t c) {
    doubles(x)[to] = (images[from] / 255.0 - mean[c]) / std[c];
  });
}

void load_f32(void* x, const float* values, const ActivationShape& shape, const Launch& launch) {
  for_each_pair(shape, launch,
                [&](int64_t from, int64_t to, int64_t) { doubles(x)[to] = values[from]; });
}

void store_f32(float* values, const void* x, const ActivationShape& shape, const Launch& launch) {
  for_each_pair(shape, launch, [&](int64_t to, int64_t from, int64_t) {
    values[to] = static_cast<float>(doubles(x)[from]);
  });
}

}  // namespace

InputKernels input_kernels() {
  return {load_u8, load_f32, store_f32, nullptr};
}

}  // namespace sculpt::kernels::reference
