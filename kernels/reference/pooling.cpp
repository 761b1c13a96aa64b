#include <cmath>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

/// Calls body(row, column) for the input pixels of an output's window, in row-major order.
template <class Body>
void for_each_in_window(const Pool2dShape& s, int64_t out_row, int64_t out_column,
                        const Body& body) {
  for (int64_t r = 0; r < s.kernel; ++r) {
    for (int64_t c = 0; c < s.kernel; ++c) {
      const int64_t row = out_row * s.stride - s.padding + r;
      const int64_t column = out_column * s.stride - s.padding + c;
      if (row >= 0 && row < s.in.height && column >= 0 && column < s.in.width) body(row, column);
    }
  }
}

/// Calls body(n, c, row, column) for every output pixel; a plane belongs to one thread.
template <class Body>
void for_each_output(const Pool2dShape& s, int64_t batch, const Body& body) {
  for_each_plane(s.out.channels, batch, [&](int64_t n, int64_t c) {
    for (int64_t row = 0; row < s.out.height; ++row)
      for (int64_t column = 0; column < s.out.width; ++column)
        body(n, c, row, column);
  });
}

/// Index of the first maximum of a window; NaN counts as the largest.
int64_t argmax(const Pool2dShape& s, const double* x, int64_t n, int64_t c, int64_t row,
               int64_t column) {
  int64_t best = -1;
  for_each_in_window(s, row, column, [&](int64_t y, int64_t z) {
    const int64_t i = at(s.in, n, c, y, z);
    if (best < 0 || x[i] > x[best] || (std::isnan(x[i]) && !std::isnan(x[best]))) best = i;
  });
  return best;
}

void zero_if_overwritten(double* dx, const ActivationShape& in, GradWrite write, int64_t batch) {
  if (write == GradWrite::overwrite) for_each_pixel(in, batch, [&](int64_t i) { dx[i] = 0; });
}

void max_forward(void* y, const void* x, const Pool2dShape& s, const Launch& launch) {
  for_each_output(s, launch.batch, [&](int64_t n, int64_t c, int64_t row, int64_t column) {
    doubles(y)[at(s.out, n, c, row, column)] = doubles(x)[argmax(s, doubles(x), n, c, row, column)];
  });
}

void max_select(void* y, const void* x, const void* by, const Pool2dShape& s,
                const Launch& launch) {
  for_each_output(s, launch.batch, [&](int64_t n, int64_t c, int64_t row, int64_t column) {
    doubles(y)[at(s.out, n, c, row, column)] =
        doubles(x)[argmax(s, doubles(by), n, c, row, column)];
  });
}

void max_backward(void* dx, const void* dy, const void* x, const Pool2dShape& s, GradWrite write,
                  const Launch& launch) {
  zero_if_overwritten(doubles(dx), s.in, write, launch.batch);
  for_each_output(s, launch.batch, [&](int64_t n, int64_t c, int64_t row, int64_t column) {
    doubles(dx)[argmax(s, doubles(x), n, c, row, column)] +=
        doubles(dy)[at(s.out, n, c, row, column)];
  });
}

void average_forward(void* y, const void* x, const Pool2dShape& s, const Launch& launch) {
  const auto cells = static_cast<double>(s.kernel * s.kernel);
  for_each_output(s, launch.batch, [&](int64_t n, int64_t c, int64_t row, int64_t column) {
    double sum = 0;
    for_each_in_window(s, row, column, [&](int64_t in_row, int64_t in_column) {
      sum += doubles(x)[at(s.in, n, c, in_row, in_column)];
    });
    doubles(y)[at(s.out, n, c, row, column)] = sum / cells;
  });
}

void average_backward(void* dx, const void* dy, const Pool2dShape& s, GradWrite write,
                      const Launch& launch) {
  const auto cells = static_cast<double>(s.kernel * s.kernel);
  zero_if_overwritten(doubles(dx), s.in, write, launch.batch);
  for_each_output(s, launch.batch, [&](int64_t n, int64_t c, int64_t row, int64_t column) {
    const double share = doubles(dy)[at(s.out, n, c, row, column)] / cells;
    for_each_in_window(s, row, column, [&](int64_t in_row, int64_t in_column) {
      doubles(dx)[at(s.in, n, c, in_row, in_column)] += share;
    });
  });
}

void global_average_forward(void* y, const void* x, const ActivationShape& in,
                            const Launch& launch) {
  for_each_plane(in.channels, launch.batch, [&](int64_t n, int64_t c) {
    double sum = 0;
    for (int64_t row = 0; row < in.height; ++row)
      for (int64_t column = 0; column < in.width; ++column)
        sum += doubles(x)[at(in, n, c, row, column)];
    doubles(y)[n * in.channels + c] = sum / static_cast<double>(in.height * in.width);
  });
}

void global_average_backward(void* dx, const void* dy, const ActivationShape& in, GradWrite write,
                             const Launch& launch) {
  for_each_plane(in.channels, launch.batch, [&](int64_t n, int64_t c) {
    const double share =
        doubles(dy)[n * in.channels + c] / static_cast<double>(in.height * in.width);
    for (int64_t row = 0; row < in.height; ++row)
      for (int64_t column = 0; column < in.width; ++column)
        write_grad(doubles(dx) + at(in, n, c, row, column), share, write);
  });
}

}  // namespace

PoolingKernels pooling_kernels() {
  return {max_forward,      max_backward,           average_forward,
          average_backward, global_average_forward, global_average_backward,
          max_select};
}

}  // namespace sculpt::kernels::reference
