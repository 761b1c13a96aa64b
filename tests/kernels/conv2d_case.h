#pragma once
// Cases of convolutions, and the definition of a convolution.

#include <fmt/format.h>

#include "kernels/conv2d.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/kernels/layer_passes.h"

namespace sculpt::kernels::test {

/// Sizes of a convolution.
struct Case {
  int64_t batch, in_channels, height, width, out_channels, kernel_h, kernel_w, stride, padding;
  int64_t groups = 1;
  int64_t extra_halo = 0;

  std::string name() const {
    return fmt::format(
        "batch {} in {}x{}x{} out {} kernel {}x{} stride {} padding {} groups {} halo +{}", batch,
        in_channels, height, width, out_channels, kernel_h, kernel_w, stride, padding, groups,
        extra_halo);
  }
};

inline Conv2dShape make_shape(const Case& c) {
  Conv2dShape shape;
  shape.kernel_h = c.kernel_h;
  shape.kernel_w = c.kernel_w;
  shape.stride = c.stride;
  shape.padding = c.padding;
  shape.groups = c.groups;
  shape.in = {c.in_channels, c.height, c.width, c.padding + c.extra_halo};
  shape.out = {c.out_channels, conv2d_output_size(c.height, c.kernel_h, c.stride, c.padding),
               conv2d_output_size(c.width, c.kernel_w, c.stride, c.padding), 0};
  shape.out.halo = conv2d_output_halo(shape) + c.extra_halo;
  return shape;
}

/// A convolution with the numbers that its passes read.
struct ConvInputs : LayerInputs {
  explicit ConvInputs(const Case& c, MakeValues values = uniform_values)
      : ConvInputs(make_shape(c), c.batch, values) {}
  ConvInputs(const Conv2dShape& conv, int64_t images, MakeValues values = uniform_values)
      : LayerInputs(conv.in, conv.out, images, conv.weight_count(), values), shape(conv) {}

  Conv2dShape shape;
};

/// Calls body(x index, weight index, y index) for every multiply-add of the convolution.
template <class Body>
void for_each_product(const Conv2dShape& s, int64_t batch, const Body& body) {
  const int64_t in_per_group = s.in_channels_per_group();
  const int64_t out_per_group = s.out_channels_per_group();
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t o = 0; o < s.out.channels; ++o)
      for (int64_t c = 0; c < in_per_group; ++c)
        for (int64_t i = 0; i < s.out.height; ++i)
          for (int64_t j = 0; j < s.out.width; ++j)
            for (int64_t r = 0; r < s.kernel_h; ++r)
              for (int64_t q = 0; q < s.kernel_w; ++q) {
                const int64_t y = i * s.stride - s.padding + r;
                const int64_t x = j * s.stride - s.padding + q;
                if (y < 0 || y >= s.in.height || x < 0 || x >= s.in.width) continue;
                const int64_t channel = o / out_per_group * in_per_group + c;
                body(
                    static_cast<size_t>(
                        ((n * s.in.channels + channel) * s.in.height + y) * s.in.width + x),
                    static_cast<size_t>(((o * in_per_group + c) * s.kernel_h + r) * s.kernel_w + q),
                    static_cast<size_t>(
                        ((n * s.out.channels + o) * s.out.height + i) * s.out.width + j));
              }
}

/// ConvResults has what the passes of a convolution give, without bias, where they overwrite. Plain
/// loops in double compute it over the weights w with keeps(w).
struct ConvResults {
  template <class Keeps>
  ConvResults(const ConvInputs& in, const Keeps& keeps)
      : y(in.dy.size()), dx(in.x.size()), dweight(in.weight.size()), dbias(in.bias.size()) {
    for_each_product(in.shape, in.batch, [&](size_t i, size_t w, size_t o) {
      if (!keeps(w)) return;
      y[o] += in.weight[w] * in.x[i];
      dx[i] += in.weight[w] * in.dy[o];
      dweight[w] += in.dy[o] * in.x[i];
    });
    for (size_t o = 0; o < in.dy.size(); ++o)
      dbias[in.channel_of(o)] += in.dy[o];
  }

  Values y, dx, dweight, dbias;
};

inline Values sum_of(const Values& a, const Values& b) {
  Values sum = a;
  for (size_t i = 0; i < sum.size(); ++i)
    sum[i] += b[i];
  return sum;
}

/// Returns an activation whose halo is zero, as convolutions expect it.
inline Activation make_activation(const Backend& backend, const ActivationShape& shape,
                                  const Launch& launch, const Values& nchw, double padded) {
  Activation activation(backend, shape, launch, nchw, padded);
  activation.zero_frame();
  return activation;
}

}  // namespace sculpt::kernels::test
