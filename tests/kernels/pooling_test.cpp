// Forward passes of pooling are compared with plain loops. Backward passes of the reference are
// compared with finite differences, and those of other backends with the reference.

#include <cmath>
#include <fmt/format.h>

#include "kernels/conv2d.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

struct Case {
  int64_t batch, channels, height, width, in_halo, out_halo, kernel, stride, padding;

  Pool2dShape shape() const {
    Pool2dShape s;
    s.in = {channels, height, width, in_halo};
    s.out = {channels, conv2d_output_size(height, kernel, stride, padding),
             conv2d_output_size(width, kernel, stride, padding), out_halo};
    s.kernel = kernel;
    s.stride = stride;
    s.padding = padding;
    return s;
  }
  int64_t in_count() const { return batch * shape().in.elements_per_image(); }
  int64_t out_count() const { return batch * shape().out.elements_per_image(); }
  std::string name() const {
    return fmt::format("batch {} of {}x{}x{} halos {} {} kernel {} stride {} padding {}", batch,
                       channels, height, width, in_halo, out_halo, kernel, stride, padding);
  }
};

const std::vector<Case> kCases = {
    {2, 3, 6, 8, 0, 0, 2, 2, 0},  {5, 2, 7, 5, 1, 2, 2, 2, 0},  {17, 2, 9, 9, 1, 1, 3, 2, 1},
    {3, 1, 5, 5, 2, 0, 3, 1, 1},  {33, 1, 4, 6, 0, 1, 4, 2, 2}, {1, 2, 1, 1, 0, 0, 2, 2, 1},
    {16, 3, 6, 7, 1, 0, 3, 3, 0},
};

/// Calls body(in index, out index) for every input pixel of every window, row-major, on NCHW
/// arrays.
template <class Body>
void for_each_pair(const Case& c, const Body& body) {
  const Pool2dShape s = c.shape();
  for (int64_t plane = 0; plane < c.batch * c.channels; ++plane)
    for (int64_t y = 0; y < s.out.height; ++y)
      for (int64_t x = 0; x < s.out.width; ++x)
        for (int64_t r = y * c.stride - c.padding; r < y * c.stride - c.padding + c.kernel; ++r)
          for (int64_t q = x * c.stride - c.padding; q < x * c.stride - c.padding + c.kernel; ++q)
            if (r >= 0 && r < c.height && q >= 0 && q < c.width)
              body(static_cast<size_t>((plane * c.height + r) * c.width + q),
                   static_cast<size_t>((plane * s.out.height + y) * s.out.width + x));
}

Values naive_max(const Case& c, const Values& x) {
  Values y(static_cast<size_t>(c.out_count()), -INFINITY);
  for_each_pair(c, [&](size_t i, size_t o) { y[o] = std::max(y[o], x[i]); });
  return y;
}

Values naive_average(const Case& c, const Values& x) {
  Values y(static_cast<size_t>(c.out_count()));
  for_each_pair(
      c, [&](size_t i, size_t o) { y[o] += x[i] / static_cast<double>(c.kernel * c.kernel); });
  return y;
}

Values naive_global_average(const Case& c, const Values& x) {
  Values y(static_cast<size_t>(c.batch * c.channels));
  const auto area = static_cast<size_t>(c.height * c.width);
  for (size_t i = 0; i < x.size(); ++i)
    y[i / area] += x[i] / static_cast<double>(area);
  return y;
}

enum class Kind { max, average, global };

ActivationShape out_shape(const Case& c, Kind kind) {
  return kind == Kind::global ? ActivationShape{c.channels, 1, 1, 0} : c.shape().out;
}

Values run_forward(const Backend& backend, const Case& c, Kind kind, const Values& in) {
  const Launch launch = make_launch(backend, c.batch);
  Activation x(backend, c.shape().in, launch, in, -50.0);
  Activation y(backend, out_shape(c, kind), launch);
  if (kind == Kind::max)
    backend.pooling.max_forward(y.data(), x.data(), c.shape(), launch);
  else if (kind == Kind::average)
    backend.pooling.average_forward(y.data(), x.data(), c.shape(), launch);
  else
    backend.pooling.global_average_forward(y.data(), x.data(), c.shape().in, launch);
  CHECK(y.frame_intact());
  CHECK(y.padded_lanes_finite());
  return y.nchw();
}

Values run_backward(const Backend& backend, const Case& c, Kind kind, const Values& in,
                    const Values& grad, const Values& before, GradWrite write) {
  const Launch launch = make_launch(backend, c.batch);
  Activation x(backend, c.shape().in, launch, in, -50.0);
  Activation dy(backend, out_shape(c, kind), launch, grad, 0.0);
  Activation dx(backend, c.shape().in, launch, before, 0.0);
  if (kind == Kind::max)
    backend.pooling.max_backward(dx.data(), dy.data(), x.data(), c.shape(), write, launch);
  else if (kind == Kind::average)
    backend.pooling.average_backward(dx.data(), dy.data(), c.shape(), write, launch);
  else
    backend.pooling.global_average_backward(dx.data(), dy.data(), c.shape().in, write, launch);
  CHECK(dx.frame_intact());
  CHECK(dx.padded_lanes_zero());
  return dx.nchw();
}

Values naive_forward(const Case& c, Kind kind, const Values& x) {
  if (kind == Kind::max) return naive_max(c, x);
  return kind == Kind::average ? naive_average(c, x) : naive_global_average(c, x);
}

/// No two equal numbers within a window, whatever the precision: maxima have gradients.
Values distinct_in_windows(const Case& c) {
  Values x(static_cast<size_t>(c.in_count()));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<double>(i * 29 % 128) / 64 - 1;
  return x;
}

constexpr Kind kKinds[] = {Kind::max, Kind::average, Kind::global};

TEST_CASE("pooling: forward against plain loops") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      for (const Kind kind : kKinds) {
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(static_cast<int>(kind));
        Values x = random_values(c.in_count(), 1);
        for (double& v : x)
          v -= 2;  // all negative: padding must not win as 0
        for (double& v : x)
          v = representable(v);
        CHECK(max_error(run_forward(*backend, c, kind, x), naive_forward(c, kind, x)) <
              tolerance(*backend, 2e-6));
      }
    }
  }
}

TEST_CASE("pooling: backward") {
  for (const Case& c : kCases) {
    for (const Kind kind : kKinds) {
      const Values x = distinct_in_windows(c);
      const auto outputs = c.batch * out_shape(c, kind).elements_per_image();
      const Values dy = random_values(outputs, 3);
      const Values before = random_values(c.in_count(), 4);
      const Values expected =
          run_backward(reference_backend(), c, kind, x, dy, before, GradWrite::overwrite);
      CAPTURE(c.name());
      CAPTURE(static_cast<int>(kind));
      const Values differences = finite_differences(
          [&](const Values& at) { return dot(naive_forward(c, kind, at), dy); }, x, 1e-7);
      CHECK(max_error(expected, differences) < 1e-6);
      for (const Backend* backend : all_backends()) {
        for (const GradWrite write : kWrites) {
          CAPTURE(backend->name);
          CHECK(max_error(run_backward(*backend, c, kind, x, dy, before, write),
                          written(before, expected, write)) < tolerance(*backend, 1e-6));
        }
      }
    }
  }
}

TEST_CASE("pooling: the first of equal maxima gets the gradient") {
  const Case c{3, 2, 5, 5, 1, 0, 3, 2, 1};
  for (const double value : {0.5, double{-INFINITY}}) {
    const Values x(static_cast<size_t>(c.in_count()), value);
    const Values dy(static_cast<size_t>(c.out_count()), 1.0);
    Values expected(x.size());
    std::vector<bool> given(dy.size());
    for_each_pair(c, [&](size_t i, size_t o) {
      if (!given[o]) expected[i] += 1;
      given[o] = true;
    });
    for (const Backend* backend : all_backends()) {
      CAPTURE(backend->name);
      CHECK(run_backward(*backend, c, Kind::max, x, dy, x, GradWrite::overwrite) == expected);
    }
  }
}

Values run_select(const Backend& backend, const Case& c, const Values& in, const Values& keys) {
  const Launch launch = make_launch(backend, c.batch);
  Activation x(backend, c.shape().in, launch, in, -50.0);
  Activation by(backend, c.shape().in, launch, keys, 50.0);
  Activation y(backend, c.shape().out, launch);
  backend.pooling.max_select(y.data(), x.data(), by.data(), c.shape(), launch);
  CHECK(y.frame_intact());
  CHECK(y.padded_lanes_finite());
  return y.nchw();
}

/// A strictly larger key wins, so the first of equal keys does. NaN is larger than any number.
Values naive_select(const Case& c, const Values& x, const Values& keys) {
  Values y(static_cast<size_t>(c.out_count())), best(y.size());
  std::vector<bool> seen(y.size());
  for_each_pair(c, [&](size_t i, size_t o) {
    const bool wins =
        !seen[o] || keys[i] > best[o] || (std::isnan(keys[i]) && !std::isnan(best[o]));
    seen[o] = true;
    if (!wins) return;
    best[o] = keys[i];
    y[o] = x[i];
  });
  return y;
}

TEST_CASE("pooling: max_select takes from one input what another one decides") {
  for (const Case& c : kCases) {
    Values x = random_values(c.in_count(), 6), keys = random_values(c.in_count(), 7);
    for (double& v : x)
      v = representable(v);
    for (double& v : keys)
      v = std::round(4 * v) / 4;  // with many ties
    for (size_t i = 0; i < keys.size(); i += 13)
      keys[i] = i % 2 == 0 ? std::nan("") : -INFINITY;
    for (const Backend* backend : all_backends()) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      CHECK(run_select(*backend, c, x, keys) == naive_select(c, x, keys));
      // A pass whose pattern comes from its own input is max pooling.
      CHECK(run_select(*backend, c, x, x) == run_forward(*backend, c, Kind::max, x));
    }
  }
}

TEST_CASE("pooling: a NaN is the maximum of its windows") {
  const Case c{1, 1, 4, 4, 0, 0, 2, 2, 0};
  Values x = random_values(c.in_count(), 5);
  x[5] = std::nan("");  // row 1, column 1: the first window
  for (const Backend* backend : all_backends()) {
    const Values y = run_forward(*backend, c, Kind::max, x);
    CHECK(std::isnan(y[0]));
    CHECK(!std::isnan(y[1]));
    const Values dx =
        run_backward(*backend, c, Kind::max, x, Values(4, 1.0), x, GradWrite::overwrite);
    CHECK(dx[5] == 1);
  }
}

}  // namespace
