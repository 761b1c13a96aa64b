// Every CPU backend's convolution against plain loops in double on NCHW arrays.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <limits>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace {

using namespace sculpt::kernels;
using Values = std::vector<double>;

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

Conv2dShape make_shape(const Case& c) {
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

Values random_values(int64_t count, uint32_t seed) {
  Values values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 2.0 * sculpt::philox_uniform(sculpt::philox4x32(seed, i, 0)[0]) - 1.0;
  return values;
}

// A buffer in the backend's layout. What no kernel may write or read is checked by check_frame().
class Activation {
 public:
  Activation(const ActivationShape& shape, int64_t batch, const Values& nchw, float padded_lanes)
      : shape_(shape),
        batch_(batch),
        blocks_(ceil_div(batch, kLanes)),
        cells_(static_cast<size_t>(shape.buffer_cells(blocks_) * kLanes), 0.0f) {
    for (int64_t n = 0; n < blocks_ * kLanes; ++n)
      for_each_pixel([&](int64_t c, int64_t y, int64_t x) {
        cells_[index(n, c, y, x)] =
            n < batch ? static_cast<float>(nchw[plain(n, c, y, x)]) : padded_lanes;
      });
  }

  float* data() { return cells_.data() + shape_.guard_cells() * kLanes; }

  Values to_nchw() const {
    Values values(static_cast<size_t>(batch_ * shape_.elements_per_image()));
    for (int64_t n = 0; n < batch_; ++n)
      for_each_pixel([&](int64_t c, int64_t y, int64_t x) {
        values[plain(n, c, y, x)] = cells_[index(n, c, y, x)];
      });
    return values;
  }

  /// Cells outside the pixels are still zero, and so are padded lanes if asked.
  bool frame_is_zero(bool padded_lanes_too) const {
    std::vector<float> cells = cells_;
    const int64_t images = padded_lanes_too ? batch_ : blocks_ * kLanes;
    for (int64_t n = 0; n < images; ++n)
      for_each_pixel([&](int64_t c, int64_t y, int64_t x) { cells[index(n, c, y, x)] = 0.0f; });
    for (const float value : cells)
      if (value != 0.0f) return false;
    return true;
  }

 private:
  static constexpr int64_t kLanes = 16;

  template <class Body>
  void for_each_pixel(const Body& body) const {
    for (int64_t c = 0; c < shape_.channels; ++c)
      for (int64_t y = 0; y < shape_.height; ++y)
        for (int64_t x = 0; x < shape_.width; ++x)
          body(c, y, x);
  }
  size_t plain(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return static_cast<size_t>(((n * shape_.channels + c) * shape_.height + y) * shape_.width + x);
  }
  size_t index(int64_t n, int64_t c, int64_t y, int64_t x) const {
    const int64_t cell = n / kLanes * shape_.block_stride() + c * shape_.plane_stride() +
                         y * shape_.row_stride() + x + shape_.guard_cells();
    return static_cast<size_t>(cell * kLanes + n % kLanes);
  }

  ActivationShape shape_;
  int64_t batch_;
  int64_t blocks_;
  std::vector<float> cells_;
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

/// Largest difference in units of the largest expected magnitude.
double relative_error(const Values& got, const Values& expected) {
  double scale = 1e-30;
  double worst = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    const double error = std::abs(got[i] - expected[i]);
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
  }
  return worst / scale;
}

std::vector<float> to_float(const Values& values) {
  return {values.begin(), values.end()};
}
Values to_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

/// Sums of a few thousand products of numbers in [-1, 1] in float.
constexpr double kTolerance = 2e-5;

struct Problem {
  explicit Problem(const Case& c)
      : shape(make_shape(c)),
        batch(c.batch),
        x(random_values(batch * shape.in.elements_per_image(), 1)),
        dy(random_values(batch * shape.out.elements_per_image(), 2)),
        weight(random_values(shape.weight_count(), 3)),
        bias(random_values(shape.out.channels, 4)) {}

  Conv2dShape shape;
  int64_t batch;
  Values x, dy, weight, bias;
};

struct Scratch {
  Scratch(const Backend& backend, const Problem& p)
      : bytes(backend.conv2d.workspace_bytes(p.shape, p.batch) + 64),
        data(bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64) {}
  std::vector<unsigned char> bytes;
  void* data;
};

void check_forward(const Backend& backend, const Problem& p, bool with_bias) {
  Values expected(p.dy.size(), 0.0);
  const size_t pixels = static_cast<size_t>(p.shape.out.height * p.shape.out.width);
  for (size_t i = 0; i < expected.size(); ++i)
    if (with_bias) expected[i] = p.bias[i / pixels % p.bias.size()];
  for_each_product(p.shape, p.batch,
                   [&](size_t x, size_t w, size_t y) { expected[y] += p.weight[w] * p.x[x]; });

  Activation x(p.shape.in, p.batch, p.x, 3.0f);
  Activation y(p.shape.out, p.batch, p.dy, -7.0f);
  const auto weight = to_float(p.weight);
  const auto bias = to_float(p.bias);
  Scratch scratch(backend, p);
  backend.conv2d.forward(y.data(), x.data(), weight.data(), with_bias ? bias.data() : nullptr,
                         p.shape, scratch.data, {.batch = p.batch});
  CHECK(relative_error(y.to_nchw(), expected) < kTolerance);
  CHECK(y.frame_is_zero(false));
}

void check_input_grad(const Backend& backend, const Problem& p, GradWrite write) {
  Values expected = write == GradWrite::accumulate ? p.x : Values(p.x.size(), 0.0);
  for_each_product(p.shape, p.batch,
                   [&](size_t x, size_t w, size_t y) { expected[x] += p.weight[w] * p.dy[y]; });

  Activation dx(p.shape.in, p.batch, p.x, 0.0f);
  Activation dy(p.shape.out, p.batch, p.dy, 0.0f);
  const auto weight = to_float(p.weight);
  Scratch scratch(backend, p);
  backend.conv2d.input_grad(dx.data(), dy.data(), weight.data(), p.shape, write, scratch.data,
                            {.batch = p.batch});
  CHECK(relative_error(dx.to_nchw(), expected) < kTolerance);
  CHECK(dx.frame_is_zero(true));
}

void check_weight_grad(const Backend& backend, const Problem& p, GradWrite write, bool with_bias) {
  const bool add = write == GradWrite::accumulate;
  Values expected = add ? p.weight : Values(p.weight.size(), 0.0);
  for_each_product(p.shape, p.batch,
                   [&](size_t x, size_t w, size_t y) { expected[w] += p.x[x] * p.dy[y]; });
  Values expected_bias = add ? p.bias : Values(p.bias.size(), 0.0);
  const size_t pixels = static_cast<size_t>(p.shape.out.height * p.shape.out.width);
  for (size_t i = 0; i < p.dy.size(); ++i)
    expected_bias[i / pixels % p.bias.size()] += p.dy[i];

  Activation x(p.shape.in, p.batch, p.x, 5.0f);
  Activation dy(p.shape.out, p.batch, p.dy, 0.0f);
  auto dweight = to_float(p.weight);
  auto dbias = to_float(p.bias);
  Scratch scratch(backend, p);
  backend.conv2d.weight_grad(dweight.data(), with_bias ? dbias.data() : nullptr, dy.data(),
                             x.data(), p.shape, write, scratch.data, {.batch = p.batch});
  CHECK(relative_error(to_double(dweight), expected) < kTolerance);
  CHECK(relative_error(to_double(dbias), with_bias ? expected_bias : p.bias) < kTolerance);
}

void check_all(const Case& c) {
  const Problem problem(c);
  for (const Backend* backend : available_cpu_backends()) {
    CAPTURE(backend->name);
    CAPTURE(c.name());
    for (const bool flag : {false, true}) {
      const GradWrite write = flag ? GradWrite::accumulate : GradWrite::overwrite;
      check_forward(*backend, problem, flag);
      check_input_grad(*backend, problem, write);
      check_weight_grad(*backend, problem, write, !flag);
    }
  }
}

class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(sculpt::thread_count()) {
    sculpt::set_thread_count(count);
  }
  ~ThreadCount() { sculpt::set_thread_count(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace

TEST_CASE("conv2d: layers of the usual networks, small") {
  // batch, in, height, width, out, kernel, stride, padding
  check_all({16, 3, 8, 8, 16, 3, 3, 1, 1});
  check_all({17, 16, 8, 8, 16, 3, 3, 1, 1});
  check_all({40, 16, 8, 8, 32, 3, 3, 2, 1});
  check_all({5, 16, 8, 8, 32, 1, 1, 2, 0});
  check_all({16, 64, 4, 4, 48, 3, 3, 1, 1});
  check_all({33, 70, 2, 2, 24, 3, 3, 1, 1});
  check_all({1, 3, 28, 28, 6, 5, 5, 1, 2});
  check_all({5, 6, 14, 14, 16, 5, 5, 1, 0});
  check_all({2, 3, 23, 21, 8, 7, 7, 2, 3});
}

TEST_CASE("conv2d: every width, and windows that leave rows and columns unread") {
  for (int64_t width = 1; width <= 9; ++width) {
    check_all({3, 5, 4, width, 7, 3, 3, 1, 1});
    check_all({1, 3, width, 5, 2, 1, 1, 3, 0});
    check_all({18, 2, 5, width, 3, 3, 3, 2, 1});
  }
  check_all({1, 2, 3, 70, 5, 3, 3, 1, 1});
  check_all({1, 2, 5, 131, 5, 1, 1, 1, 0});
}

TEST_CASE("conv2d: odd windows") {
  check_all({4, 3, 9, 7, 5, 3, 3, 3, 1});
  check_all({4, 3, 10, 11, 5, 3, 3, 3, 0});
  check_all({4, 3, 7, 9, 5, 1, 1, 1, 2});
  check_all({4, 3, 7, 9, 5, 1, 1, 2, 1});
  check_all({4, 3, 6, 7, 5, 3, 3, 1, 3});
  check_all({4, 3, 6, 7, 5, 3, 1, 1, 1});
  check_all({4, 3, 6, 9, 5, 2, 5, 2, 1});
  check_all({4, 3, 8, 8, 5, 2, 2, 2, 0});
  check_all({4, 3, 7, 7, 5, 2, 2, 3, 0});
  check_all({4, 3, 7, 7, 9, 7, 7, 1, 0});
}

TEST_CASE("conv2d: groups and depthwise") {
  check_all({17, 8, 6, 5, 12, 3, 3, 1, 1, 4});
  check_all({5, 6, 7, 7, 6, 3, 3, 2, 1, 3});
  check_all({3, 11, 9, 9, 11, 3, 3, 1, 1, 11});
  check_all({3, 5, 8, 8, 10, 3, 3, 2, 1, 5});
  check_all({3, 12, 5, 5, 8, 1, 1, 1, 0, 4});
}

TEST_CASE("conv2d: a halo larger than needed") {
  check_all({5, 4, 6, 5, 6, 3, 3, 1, 1, 1, 2});
  check_all({5, 4, 7, 5, 6, 3, 3, 2, 1, 1, 1});
  check_all({5, 4, 7, 5, 6, 1, 1, 2, 0, 1, 3});
}

TEST_CASE("conv2d: random shapes") {
  for (uint32_t seed = 20; seed < 32; ++seed) {
    const Values draws = random_values(16, seed);
    size_t next = 0;
    auto pick = [&](int64_t low, int64_t high) {
      const double unit = (draws[next++] + 1.0) / 2.0;
      return low + static_cast<int64_t>(unit * static_cast<double>(high - low + 1) * 0.999999);
    };
    Case c{};
    c.batch = pick(1, 20);
    c.groups = pick(1, 3);
    c.in_channels = c.groups * pick(1, 9);
    c.out_channels = c.groups * pick(1, 9);
    c.kernel_h = pick(1, 4);
    c.kernel_w = pick(1, 4);
    c.height = c.kernel_h + pick(0, 8);
    c.width = c.kernel_w + pick(0, 8);
    c.stride = pick(1, 3);
    c.padding = pick(0, 3);
    c.extra_halo = pick(0, 1);
    CAPTURE(seed);
    check_all(c);
  }
}

TEST_CASE("conv2d: the result does not depend on the number of threads") {
  const std::vector<Case> cases = {{20, 7, 6, 5, 13, 3, 3, 1, 1},
                                   {33, 20, 8, 8, 24, 3, 3, 2, 1},
                                   {2, 40, 3, 3, 70, 1, 1, 1, 0},
                                   {4, 9, 5, 5, 9, 3, 3, 1, 1, 9}};
  for (const Case& c : cases) {
    const Problem p(c);
    for (const Backend* backend : available_cpu_backends()) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      Values y[3], dx[3], dw[3];
      for (int threads = 1; threads <= 3; ++threads) {
        const ThreadCount guard(threads);
        Scratch scratch(*backend, p);
        Activation x(p.shape.in, p.batch, p.x, 0.0f);
        Activation dy(p.shape.out, p.batch, p.dy, 0.0f);
        Activation result(p.shape.out, p.batch, p.dy, 0.0f);
        Activation x_grad(p.shape.in, p.batch, p.x, 0.0f);
        auto weight = to_float(p.weight);
        const auto& conv = backend->conv2d;
        const Launch launch{.batch = p.batch};
        conv.forward(result.data(), x.data(), weight.data(), nullptr, p.shape, scratch.data,
                     launch);
        conv.input_grad(x_grad.data(), dy.data(), weight.data(), p.shape, GradWrite::overwrite,
                        scratch.data, launch);
        conv.weight_grad(weight.data(), nullptr, dy.data(), x.data(), p.shape, GradWrite::overwrite,
                         scratch.data, launch);
        y[threads - 1] = result.to_nchw();
        dx[threads - 1] = x_grad.to_nchw();
        dw[threads - 1] = to_double(weight);
      }
      for (int other : {1, 2}) {
        CHECK(y[0] == y[other]);
        CHECK(dx[0] == dx[other]);
        CHECK(dw[0] == dw[other]);
      }
    }
  }
}
