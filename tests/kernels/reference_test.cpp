// The reference backend's convolution and fully connected layer against the formulas of their
// headers, written as one loop over all products.

#include <fmt/format.h>

#include "kernels/conv2d.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

struct Case {
  int64_t batch, in_channels, height, width, out_channels, kernel_h, kernel_w, stride, padding,
      groups, in_halo, out_halo;

  Conv2dShape shape() const {
    Conv2dShape s;
    s.in = {in_channels, height, width, in_halo};
    s.out = {out_channels, conv2d_output_size(height, kernel_h, stride, padding),
             conv2d_output_size(width, kernel_w, stride, padding), out_halo};
    s.kernel_h = kernel_h;
    s.kernel_w = kernel_w;
    s.stride = stride;
    s.padding = padding;
    s.groups = groups;
    return s;
  }
};

// The frame is NaN, so halos of 0 and of 1 alike show any use of it.
const std::vector<Case> kCases = {
    {2, 3, 5, 7, 4, 3, 3, 1, 1, 1, 1, 1}, {3, 4, 6, 5, 6, 3, 3, 2, 1, 2, 1, 0},
    {1, 2, 4, 4, 3, 1, 1, 2, 0, 1, 0, 0}, {2, 6, 5, 5, 6, 3, 3, 1, 1, 6, 1, 2},
    {1, 2, 7, 9, 3, 5, 3, 3, 2, 1, 0, 1}, {2, 1, 2, 2, 2, 5, 5, 1, 2, 1, 0, 0},
    {1, 2, 3, 1, 2, 3, 3, 2, 1, 1, 1, 1},
};

/// Calls body(x index, w index, y index), all on plain arrays, for every multiply-accumulate.
template <class Body>
void for_each_product(const Case& c, const Body& body) {
  const Conv2dShape s = c.shape();
  for (int64_t n = 0; n < c.batch; ++n)
    for (int64_t o = 0; o < c.out_channels; ++o)
      for (int64_t i = 0; i < s.out.height; ++i)
        for (int64_t j = 0; j < s.out.width; ++j)
          for (int64_t k = 0; k < c.in_channels / c.groups; ++k)
            for (int64_t r = 0; r < c.kernel_h; ++r)
              for (int64_t q = 0; q < c.kernel_w; ++q) {
                const int64_t channel =
                    o / (c.out_channels / c.groups) * (c.in_channels / c.groups) + k;
                const int64_t row = i * c.stride - c.padding + r;
                const int64_t column = j * c.stride - c.padding + q;
                if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
                body(static_cast<size_t>(
                         ((n * c.in_channels + channel) * c.height + row) * c.width + column),
                     static_cast<size_t>(
                         ((o * (c.in_channels / c.groups) + k) * c.kernel_h + r) * c.kernel_w + q),
                     static_cast<size_t>(
                         ((n * c.out_channels + o) * s.out.height + i) * s.out.width + j));
              }
}

TEST_CASE("reference: convolution, all passes") {
  const Backend& backend = reference_backend();
  for (const Case& c : kCases) {
    CAPTURE(fmt::format("{}x{}x{}x{} -> {}, kernel {}x{}, stride {}, padding {}, groups {}",
                        c.batch, c.in_channels, c.height, c.width, c.out_channels, c.kernel_h,
                        c.kernel_w, c.stride, c.padding, c.groups));
    const Conv2dShape s = c.shape();
    const Launch launch{c.batch};
    const Values x = random_values(c.batch * s.in.elements_per_image(), 1);
    Values w = random_values(s.weight_count(), 2);
    w[w.size() / 2] = 0;  // a pruned weight still has a gradient
    const Values bias = random_values(c.out_channels, 3);
    const Values dy = random_values(c.batch * s.out.elements_per_image(), 4);
    const size_t area = static_cast<size_t>(s.out.height * s.out.width);
    auto channel = [&](size_t i) { return i / area % static_cast<size_t>(c.out_channels); };

    Values y(dy.size()), dx(x.size()), dw(w.size()), dbias(bias.size());
    for_each_product(c, [&](size_t i, size_t k, size_t o) {
      y[o] += w[k] * x[i];
      dx[i] += w[k] * dy[o];
      dw[k] += dy[o] * x[i];
    });
    Values y_bias = y;
    for (size_t i = 0; i < dy.size(); ++i) {
      y_bias[i] += bias[channel(i)];
      dbias[channel(i)] += dy[i];
    }

    Activation in(backend, s.in, launch, x, 0.0), out(backend, s.out, launch);
    Activation out_grad(backend, s.out, launch, dy, 0.0);
    Array weight(backend, w), bias_array(backend, bias);
    backend.conv2d.forward(
        {.y = out.data(), .x = in.data(), .weight = weight.data(), .launch = launch}, s);
    CHECK(max_error(out.nchw(), y) < 1e-13);
    backend.conv2d.forward({.y = out.data(),
                            .x = in.data(),
                            .weight = weight.data(),
                            .bias = bias_array.data(),
                            .launch = launch},
                           s);
    CHECK(max_error(out.nchw(), y_bias) < 1e-13);
    CHECK(out.frame_intact());
    for (const GradWrite write : kWrites) {
      Activation in_grad(backend, s.in, launch, x, 0.0);
      backend.conv2d.input_grad({.dx = in_grad.data(),
                                 .write = write,
                                 .dy = out_grad.data(),
                                 .weight = weight.data(),
                                 .launch = launch},
                                s);
      CHECK(max_error(in_grad.nchw(), written(x, dx, write)) < 1e-13);
      CHECK(in_grad.frame_intact());
      Array weight_grad(backend, w), bias_grad(backend, bias);
      backend.conv2d.weight_grad({.dweight = weight_grad.data(),
                                  .dbias = bias_grad.data(),
                                  .write = write,
                                  .dy = out_grad.data(),
                                  .x = in.data(),
                                  .launch = launch},
                                 s);
      CHECK(max_error(weight_grad.values(), written(w, dw, write)) < 1e-13);
      CHECK(max_error(bias_grad.values(), written(bias, dbias, write)) < 1e-13);
      backend.conv2d.weight_grad(
          {.dweight = weight_grad.data(), .dy = out_grad.data(), .x = in.data(), .launch = launch},
          s);
      CHECK(max_error(weight_grad.values(), dw) < 1e-13);
    }
  }
}

TEST_CASE("reference: fully connected layer, all passes") {
  const Backend& backend = reference_backend();
  for (const int64_t batch : {1, 5}) {
    for (const LinearShape s : {LinearShape{1, 1}, LinearShape{7, 3}, LinearShape{12, 20}}) {
      CAPTURE(fmt::format("batch {}, {} -> {}", batch, s.in_features, s.out_features));
      const Launch launch{batch};
      const Values x = random_values(batch * s.in_features, 1);
      const Values w = random_values(s.in_features * s.out_features, 2);
      const Values bias = random_values(s.out_features, 3);
      const Values dy = random_values(batch * s.out_features, 4);
      Values y(dy.size()), dx(x.size()), dw(w.size()), dbias(bias.size());
      for (int64_t n = 0; n < batch; ++n)
        for (int64_t o = 0; o < s.out_features; ++o) {
          const auto out = static_cast<size_t>(n * s.out_features + o);
          y[out] += bias[static_cast<size_t>(o)];
          dbias[static_cast<size_t>(o)] += dy[out];
          for (int64_t i = 0; i < s.in_features; ++i) {
            const auto in = static_cast<size_t>(n * s.in_features + i);
            const auto k = static_cast<size_t>(o * s.in_features + i);
            y[out] += w[k] * x[in];
            dx[in] += w[k] * dy[out];
            dw[k] += dy[out] * x[in];
          }
        }
      Array in(backend, x), weight(backend, w), b(backend, bias), out_grad(backend, dy);
      Array out(backend, Values(dy.size(), 9.0));
      backend.linear.forward({.y = out.data(),
                              .x = in.data(),
                              .weight = weight.data(),
                              .bias = b.data(),
                              .launch = launch},
                             s);
      CHECK(max_error(out.values(), y) < 1e-13);
      for (const GradWrite write : kWrites) {
        Array in_grad(backend, x), weight_grad(backend, w), bias_grad(backend, bias);
        backend.linear.input_grad({.dx = in_grad.data(),
                                   .write = write,
                                   .dy = out_grad.data(),
                                   .weight = weight.data(),
                                   .launch = launch},
                                  s);
        CHECK(max_error(in_grad.values(), written(x, dx, write)) < 1e-13);
        backend.linear.weight_grad({.dweight = weight_grad.data(),
                                    .dbias = bias_grad.data(),
                                    .write = write,
                                    .dy = out_grad.data(),
                                    .x = in.data(),
                                    .launch = launch},
                                   s);
        CHECK(max_error(weight_grad.values(), written(w, dw, write)) < 1e-13);
        CHECK(max_error(bias_grad.values(), written(bias, dbias, write)) < 1e-13);
      }
    }
  }
}

}  // namespace
