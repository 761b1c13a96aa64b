// The reference backend's convolution and fully connected layer against the formulas of their
// headers, written as one loop over all products.

#include <fmt/format.h>

#include "tests/kernels/conv2d_case.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// A convolution whose activations have any halo.
struct AnyHalo {
  Case sizes;
  int64_t in_halo, out_halo;

  Conv2dShape shape() const {
    Conv2dShape s = make_shape(sizes);
    s.in.halo = in_halo;
    s.out.halo = out_halo;
    return s;
  }
};

// The frame is NaN, so halos of 0 and of 1 alike show any use of it.
const std::vector<AnyHalo> kCases = {
    {{2, 3, 5, 7, 4, 3, 3, 1, 1, 1}, 1, 1}, {{3, 4, 6, 5, 6, 3, 3, 2, 1, 2}, 1, 0},
    {{1, 2, 4, 4, 3, 1, 1, 2, 0, 1}, 0, 0}, {{2, 6, 5, 5, 6, 3, 3, 1, 1, 6}, 1, 2},
    {{1, 2, 7, 9, 3, 5, 3, 3, 2, 1}, 0, 1}, {{2, 1, 2, 2, 2, 5, 5, 1, 2, 1}, 0, 0},
    {{1, 2, 3, 1, 2, 3, 3, 2, 1, 1}, 1, 1},
};

/// Checks the passes of a family of the reference's kernels against sums over all products.
/// `for_each` calls its argument with (x index, weight index, y index) for every multiply-add.
template <class Kernels, class Shape, class ForEachProduct>
void check_passes(const Kernels& kernels, const Shape& shape, const LayerInputs& p,
                  const ForEachProduct& for_each) {
  Values y(p.dy.size()), dx(p.x.size()), dweight(p.weight.size()), dbias(p.bias.size());
  for_each([&](size_t i, size_t k, size_t o) {
    y[o] += p.weight[k] * p.x[i];
    dx[i] += p.weight[k] * p.dy[o];
    dweight[k] += p.dy[o] * p.x[i];
  });
  Values y_bias = y;
  for (size_t i = 0; i < p.dy.size(); ++i) {
    y_bias[i] += p.bias[p.channel_of(i)];
    dbias[p.channel_of(i)] += p.dy[i];
  }

  LayerPasses<Kernels, Shape> passes = {.backend = reference_backend(),
                                        .kernels = kernels,
                                        .shape = shape,
                                        .inputs = p,
                                        .weight = Array(reference_backend(), p.weight),
                                        .workspace_bytes = kernels.workspace_bytes(shape, p.batch),
                                        .frame = Frame::nan};
  CHECK(max_error(passes.forward(false), y) < 1e-13);
  CHECK(max_error(passes.forward(true), y_bias) < 1e-13);
  for (const GradWrite write : kWrites) {
    CHECK(max_error(passes.input_grad(write), written(p.x, dx, write)) < 1e-13);
    for (const bool with_bias : {true, false}) {
      const auto [weight_grad, bias_grad] = passes.weight_grad(write, with_bias, p.weight);
      CHECK(max_error(weight_grad, written(p.weight, dweight, write)) < 1e-13);
      CHECK(max_error(bias_grad, with_bias ? written(p.bias, dbias, write) : p.bias) < 1e-13);
    }
  }
}

TEST_CASE("reference: convolution, all passes") {
  for (const AnyHalo& c : kCases) {
    CAPTURE(c.sizes.name());
    ConvInputs p(c.shape(), c.sizes.batch);
    p.weight[p.weight.size() / 2] = 0;  // a pruned weight still has a gradient
    check_passes(reference_backend().conv2d, p.shape, p,
                 [&](const auto& body) { for_each_product(p.shape, p.batch, body); });
  }
}

TEST_CASE("reference: fully connected layer, all passes") {
  for (const int64_t batch : {1, 5}) {
    for (const LinearShape s : {LinearShape{1, 1}, LinearShape{7, 3}, LinearShape{12, 20}}) {
      CAPTURE(fmt::format("batch {}, {} -> {}", batch, s.in_features, s.out_features));
      const LayerInputs p({s.in_features, 1, 1, 0}, {s.out_features, 1, 1, 0}, batch,
                          s.in_features * s.out_features);
      check_passes(reference_backend().linear, s, p, [&](const auto& body) {
        for (int64_t n = 0; n < batch; ++n)
          for (int64_t o = 0; o < s.out_features; ++o)
            for (int64_t i = 0; i < s.in_features; ++i)
              body(static_cast<size_t>(n * s.in_features + i),
                   static_cast<size_t>(o * s.in_features + i),
                   static_cast<size_t>(n * s.out_features + o));
      });
    }
  }
}

}  // namespace
