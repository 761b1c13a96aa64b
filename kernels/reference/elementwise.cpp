#include "kernels/common/philox.h"
#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

void relu_forward(void* y, const void* x, const ActivationShape& shape, const Launch& launch) {
  for_each_pixel(shape, launch.batch, [&](int64_t i) {
    doubles(y)[i] = doubles(x)[i] < 0 ? 0 : doubles(x)[i];  // NaN stays NaN
  });
}

void relu_backward(void* dx, const void* dy, const void* y, const ActivationShape& shape,
                   GradWrite write, const Launch& launch) {
  for_each_pixel(shape, launch.batch, [&](int64_t i) {
    write_grad(doubles(dx) + i, doubles(y)[i] > 0 ? doubles(dy)[i] : 0, write);
  });
}

void add_forward(void* y, const void* a, const void* b, const ActivationShape& shape,
                 const Launch& launch) {
  for_each_pixel(shape, launch.batch,
                 [&](int64_t i) { doubles(y)[i] = doubles(a)[i] + doubles(b)[i]; });
}

void pass_through(void* dx, const void* dy, const ActivationShape& shape, GradWrite write,
                  const Launch& launch) {
  for_each_pixel(shape, launch.batch,
                 [&](int64_t i) { write_grad(doubles(dx) + i, doubles(dy)[i], write); });
}

/// out (=, +=) kept ? in / (1 - rate) : 0.
void dropout(double* out, const double* in, const ActivationShape& s, const DropoutDraw& draw,
             GradWrite write, const Launch& launch) {
  for_each_plane(s.channels, launch.batch, [&](int64_t n, int64_t c) {
    for (int64_t row = 0; row < s.height; ++row) {
      for (int64_t column = 0; column < s.width; ++column) {
        const int64_t counter = (draw.first_image + n) * s.elements_per_image() +
                                (c * s.height + row) * s.width + column;
        const uint32_t word = philox4x32(draw.key, static_cast<uint64_t>(counter), *draw.step)[0];
        const bool dropped = philox_uniform(word) < draw.rate;
        const int64_t i = at(s, n, c, row, column);
        write_grad(out + i, dropped ? 0 : in[i] / (1.0 - draw.rate), write);
      }
    }
  });
}

void dropout_forward(void* y, const void* x, const ActivationShape& shape, const DropoutDraw& draw,
                     const Launch& launch) {
  dropout(doubles(y), doubles(x), shape, draw, GradWrite::overwrite, launch);
}

void dropout_backward(void* dx, const void* dy, const ActivationShape& shape,
                      const DropoutDraw& draw, GradWrite write, const Launch& launch) {
  dropout(doubles(dx), doubles(dy), shape, draw, write, launch);
}

/// Returns the flattened shape, in which every element is a channel of its own.
ActivationShape flat(const ActivationShape& s) {
  return {s.elements_per_image(), 1, 1, 0};
}

int64_t feature(const ActivationShape& s, int64_t c, int64_t row, int64_t column) {
  return (c * s.height + row) * s.width + column;
}

void flatten_forward(void* y, const void* x, const ActivationShape& s, const Launch& launch) {
  for_each_plane(s.channels, launch.batch, [&](int64_t n, int64_t c) {
    for (int64_t row = 0; row < s.height; ++row)
      for (int64_t column = 0; column < s.width; ++column)
        doubles(y)[at(flat(s), n, feature(s, c, row, column), 0, 0)] =
            doubles(x)[at(s, n, c, row, column)];
  });
}

void flatten_backward(void* dx, const void* dy, const ActivationShape& s, GradWrite write,
                      const Launch& launch) {
  for_each_plane(s.channels, launch.batch, [&](int64_t n, int64_t c) {
    for (int64_t row = 0; row < s.height; ++row)
      for (int64_t column = 0; column < s.width; ++column)
        write_grad(doubles(dx) + at(s, n, c, row, column),
                   doubles(dy)[at(flat(s), n, feature(s, c, row, column), 0, 0)], write);
  });
}

}  // namespace

ElementwiseKernels elementwise_kernels() {
  return {relu_forward,    relu_backward,    add_forward,     pass_through,
          dropout_forward, dropout_backward, flatten_forward, flatten_backward};
}

}  // namespace sculpt::kernels::reference
