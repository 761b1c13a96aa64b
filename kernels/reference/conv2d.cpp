#include <algorithm>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

size_t workspace_bytes(const Conv2dShape&, int64_t) {
  return 0;
}

/// The outputs [begin, end) along one axis whose input position o * stride - padding + k lies
/// inside the input.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

Range valid_outputs(int64_t in, int64_t out, int64_t k, int64_t stride, int64_t padding) {
  Range range;
  range.begin = padding > k ? ceil_div(padding - k, stride) : 0;
  const int64_t last = in - 1 + padding - k;
  range.end = last < 0 ? 0 : std::min(out, last / stride + 1);
  range.begin = std::min(range.begin, range.end);
  return range;
}

/// Calls body(out_index, in_index, length) for every row of outputs that tap (r, s) connects with
/// the input; along the row, inputs are `stride` apart. Indices are relative to the planes.
template <class Body>
void for_each_row(const Conv2dShape& shape, int64_t r, int64_t s, const Body& body) {
  const Range rows =
      valid_outputs(shape.in.height, shape.out.height, r, shape.stride, shape.padding);
  const Range columns =
      valid_outputs(shape.in.width, shape.out.width, s, shape.stride, shape.padding);
  if (columns.begin == columns.end) return;
  const int64_t in_column = columns.begin * shape.stride - shape.padding + s;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t in_row = row * shape.stride - shape.padding + r;
    body(row * shape.out.row_stride() + columns.begin, in_row * shape.in.row_stride() + in_column,
         columns.end - columns.begin);
  }
}

/// Index of w[o][c][0][0]; c counts within the group.
int64_t weight_index(const Conv2dShape& shape, int64_t o, int64_t c) {
  return (o * shape.in_channels_per_group() + c) * shape.kernel_h * shape.kernel_w;
}

void set_plane(double* plane, const ActivationShape& s, double value) {
  for (int64_t row = 0; row < s.height; ++row)
    std::fill_n(plane + row * s.row_stride(), s.width, value);
}

void forward(const ConvForward& args, const Conv2dShape& shape) {
  const int64_t stride = shape.stride;
  for_each_plane(shape.out.channels, args.launch.batch, [&](int64_t n, int64_t o) {
    double* out = doubles(args.y) + at(shape.out, n, o, 0, 0);
    set_plane(out, shape.out, args.bias == nullptr ? 0.0 : doubles(args.bias)[o]);
    const int64_t first = o / shape.out_channels_per_group() * shape.in_channels_per_group();
    for (int64_t c = 0; c < shape.in_channels_per_group(); ++c) {
      const double* in = doubles(args.x) + at(shape.in, n, first + c, 0, 0);
      const double* w = doubles(args.weight) + weight_index(shape, o, c);
      for (int64_t r = 0; r < shape.kernel_h; ++r)
        for (int64_t s = 0; s < shape.kernel_w; ++s) {
          const double tap = w[r * shape.kernel_w + s];
          if (tap == 0) continue;
          for_each_row(shape, r, s, [&](int64_t out_i, int64_t in_i, int64_t length) {
            for (int64_t i = 0; i < length; ++i)
              out[out_i + i] += tap * in[in_i + i * stride];
          });
        }
    }
  });
}

void input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  const int64_t stride = shape.stride;
  for_each_plane(shape.in.channels, args.launch.batch, [&](int64_t n, int64_t channel) {
    double* in_grad = doubles(args.dx) + at(shape.in, n, channel, 0, 0);
    if (args.write == GradWrite::overwrite) set_plane(in_grad, shape.in, 0.0);
    const int64_t c = channel % shape.in_channels_per_group();
    const int64_t first = channel / shape.in_channels_per_group() * shape.out_channels_per_group();
    for (int64_t o = first; o < first + shape.out_channels_per_group(); ++o) {
      const double* out_grad = doubles(args.dy) + at(shape.out, n, o, 0, 0);
      const double* w = doubles(args.weight) + weight_index(shape, o, c);
      for (int64_t r = 0; r < shape.kernel_h; ++r)
        for (int64_t s = 0; s < shape.kernel_w; ++s) {
          const double tap = w[r * shape.kernel_w + s];
          if (tap == 0) continue;
          for_each_row(shape, r, s, [&](int64_t out_i, int64_t in_i, int64_t length) {
            for (int64_t i = 0; i < length; ++i)
              in_grad[in_i + i * stride] += tap * out_grad[out_i + i];
          });
        }
    }
  });
}

void weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape) {
  const int64_t stride = shape.stride;
  const int64_t in_channels = shape.in_channels_per_group();
  parallel_for(shape.out.channels * in_channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / in_channels;
      const int64_t channel = o / shape.out_channels_per_group() * in_channels + i % in_channels;
      double* dw = doubles(args.dweight) + weight_index(shape, o, i % in_channels);
      for (int64_t r = 0; r < shape.kernel_h; ++r)
        for (int64_t s = 0; s < shape.kernel_w; ++s) {
          double sum = 0;
          for (int64_t n = 0; n < args.launch.batch; ++n) {
            const double* out_grad = doubles(args.dy) + at(shape.out, n, o, 0, 0);
            const double* in = doubles(args.x) + at(shape.in, n, channel, 0, 0);
            for_each_row(shape, r, s, [&](int64_t out_i, int64_t in_i, int64_t length) {
              for (int64_t k = 0; k < length; ++k)
                sum += out_grad[out_i + k] * in[in_i + k * stride];
            });
          }
          write_grad(dw + r * shape.kernel_w + s, sum, args.write);
        }
    }
  });
  if (args.dbias == nullptr) return;
  for (int64_t o = 0; o < shape.out.channels; ++o) {
    double sum = 0;
    for (int64_t n = 0; n < args.launch.batch; ++n)
      for (int64_t row = 0; row < shape.out.height; ++row)
        for (int64_t column = 0; column < shape.out.width; ++column)
          sum += doubles(args.dy)[at(shape.out, n, o, row, column)];
    write_grad(doubles(args.dbias) + o, sum, args.write);
  }
}

}  // namespace

Conv2dKernels conv2d_kernels() {
  return {.workspace_bytes = workspace_bytes,
          .forward = forward,
          .input_grad = input_grad,
          .weight_grad = weight_grad};
}

}  // namespace sculpt::kernels::reference
