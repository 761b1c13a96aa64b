// Every backend's convolution against plain loops in double on NCHW arrays.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fmt/format.h>

#include "tests/kernels/conv2d_case.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/support/more_backends.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// Sums of a few thousand products of numbers in [-1, 1] in float.
constexpr double kTolerance = 2e-5;

using Problem = ConvInputs;

LayerPasses<Conv2dKernels, Conv2dShape> passes_of(const Backend& backend, const Problem& p) {
  return {.backend = backend,
          .kernels = backend.conv2d,
          .shape = p.shape,
          .inputs = p,
          .weight = packed_weight(backend, p.weight, p.shape.in_channels_per_group(),
                                  p.shape.kernel_h * p.shape.kernel_w),
          .workspace_bytes = backend.conv2d.workspace_bytes(p.shape, p.batch)};
}

void check_forward(const Backend& backend, const Problem& p, bool with_bias) {
  Values expected(p.dy.size(), 0.0);
  for (size_t i = 0; i < expected.size(); ++i)
    if (with_bias) expected[i] = p.bias[p.channel_of(i)];
  for_each_product(p.shape, p.batch,
                   [&](size_t x, size_t w, size_t y) { expected[y] += p.weight[w] * p.x[x]; });
  CHECK(relative_error(passes_of(backend, p).forward(with_bias), expected) <
        product_tolerance(backend, kTolerance));
}

void check_input_grad(const Backend& backend, const Problem& p, GradWrite write) {
  Values expected = write == GradWrite::accumulate ? p.x : Values(p.x.size(), 0.0);
  for_each_product(p.shape, p.batch,
                   [&](size_t x, size_t w, size_t y) { expected[x] += p.weight[w] * p.dy[y]; });
  CHECK(relative_error(passes_of(backend, p).input_grad(write), expected) <
        product_tolerance(backend, kTolerance));
}

void check_weight_grad(const Backend& backend, const Problem& p, GradWrite write, bool with_bias) {
  const bool add = write == GradWrite::accumulate;
  Values expected = add ? p.weight : Values(p.weight.size(), 0.0);
  for_each_product(p.shape, p.batch,
                   [&](size_t x, size_t w, size_t y) { expected[w] += p.x[x] * p.dy[y]; });
  Values expected_bias = add ? p.bias : Values(p.bias.size(), 0.0);
  for (size_t i = 0; i < p.dy.size(); ++i)
    expected_bias[p.channel_of(i)] += p.dy[i];

  const auto [dweight, dbias] = passes_of(backend, p).weight_grad(write, with_bias, p.weight);
  const double allowed = product_tolerance(backend, kTolerance);
  CHECK(relative_error(dweight, expected) < allowed);
  CHECK(relative_error(dbias, with_bias ? expected_bias : p.bias) < allowed);
}

/// Returns the bytes of the sums that forward() can leave, or 0 if it cannot leave sums for this
/// shape.
size_t output_sums_bytes(const Backend& backend, const Problem& p) {
  return backend.conv2d.output_sums_bytes == nullptr
             ? 0
             : backend.conv2d.output_sums_bytes(p.shape, p.batch);
}

/// Mean and variance of each channel.
struct Moments {
  Values mean, variance;
};

/// Computes mean and variance from sums over `count` elements of a channel, as batch norm does.
Moments moments_of(const Values& partials, int64_t channels, int64_t chunks, double count) {
  Moments m;
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = c * chunks; i < (c + 1) * chunks; ++i) {
      sum += partials[static_cast<size_t>(2 * i)];
      squares += partials[static_cast<size_t>(2 * i + 1)];
    }
    m.mean.push_back(sum / count);
    m.variance.push_back((squares - sum * sum / count) / count);
  }
  return m;
}

Moments naive_moments(const Values& y, const ActivationShape& shape, double count) {
  const auto pixels = static_cast<size_t>(shape.height * shape.width);
  const auto channels = static_cast<size_t>(shape.channels);
  Moments m{Values(channels), Values(channels)};
  for (size_t i = 0; i < y.size(); ++i)
    m.mean[i / pixels % channels] += y[i] / count;
  for (size_t i = 0; i < y.size(); ++i) {
    const double centred = y[i] - m.mean[i / pixels % channels];
    m.variance[i / pixels % channels] += centred * centred / count;
  }
  return m;
}

/// The results of a forward pass that was asked for sums.
struct Forward {
  Values y, partials;
  int64_t chunks = 0;
};

constexpr double kUntouched = -12345.0;

Forward run_with_sums(const Backend& backend, const Problem& p, bool with_bias) {
  DeviceCopy<double> partials(backend,
                              Values(output_sums_bytes(backend, p) / sizeof(double), kUntouched));
  ChannelSums sums = {partials.data()};
  const Values y = passes_of(backend, p).forward(with_bias, &sums);
  return {y, partials.values(), sums.chunks};
}

/// Checks the sums against the stored output. The error of the variance must be below 1e-5 of the
/// variance, however large the mean is.
void check_output_sums(const Backend& backend, const Problem& p, bool with_bias) {
  const Forward out = run_with_sums(backend, p, with_bias);
  const int64_t used = 2 * p.shape.out.channels * out.chunks;
  const int64_t left = std::ssize(out.partials) - used;
  REQUIRE(used > 0);
  REQUIRE(left >= 0);
  CHECK(std::count(out.partials.begin(), out.partials.end(), kUntouched) == left);
  const auto count = static_cast<double>(p.batch * p.shape.out.height * p.shape.out.width);
  const Moments actual = moments_of(out.partials, p.shape.out.channels, out.chunks, count);
  const Moments expected = naive_moments(out.y, p.shape.out, count);
  for (size_t o = 0; o < expected.mean.size(); ++o) {
    CAPTURE(o);
    const double mean = std::abs(expected.mean[o]), variance = expected.variance[o];
    CHECK(std::abs(actual.mean[o] - expected.mean[o]) <= 1e-6 * std::sqrt(variance) + 1e-12 * mean);
    CHECK(std::abs(actual.variance[o] - variance) <= 1e-5 * variance + 1e-12 * mean * mean);
  }
}

void check_all(const Case& c) {
  const Problem problem(c);
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    CAPTURE(c.name());
    for (const bool flag : {false, true}) {
      const GradWrite write = flag ? GradWrite::accumulate : GradWrite::overwrite;
      check_forward(*backend, problem, flag);
      check_input_grad(*backend, problem, write);
      check_weight_grad(*backend, problem, write, !flag);
      if (output_sums_bytes(*backend, problem) > 0) check_output_sums(*backend, problem, flag);
    }
  }
}

}  // namespace

// Otherwise the suites of such a backend would test the project's own kernels once more.
TEST_CASE("conv2d: the library that a backend is named for runs a plain layer" *
          needs_conv_library()) {
  const Backend& backend = *tested_backends().front();
  const std::string_view precision = backend.name.substr(5, 4);
  const Conv2dShape shape = make_shape({32, 16, 8, 8, 16, 3, 3, 1, 1});
  backend.conv2d.workspace_bytes(shape, 32);
  for (const char* pass : {"forward", "input_grad", "weight_grad"}) {
    const std::string problem =
        fmt::format("{} {} 16x8x8 to 16x8x8, kernel 3x3, stride 1, padding 1, groups 1, batch 32",
                    precision, pass);
    CAPTURE(problem);
    const Choices& choices = sculpt::test::choices_for_cudnn();
    REQUIRE(choices.contains(problem));
    CHECK(choices.at(problem) == Choice::library);
  }
}

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

// A GPU keeps whole images of these layers in shared memory. The last cases have several images per
// partial weight gradient.
const Case kImageCases[] = {
    {2, 16, 32, 32, 16, 3, 3, 1, 1}, {3, 16, 7, 5, 16, 3, 3, 1, 1},
    {1, 16, 1, 1, 16, 3, 3, 1, 1},   {5, 32, 16, 16, 32, 3, 3, 1, 1},
    {3, 32, 9, 11, 32, 3, 3, 1, 1},  {5, 64, 8, 8, 64, 3, 3, 1, 1},
    {3, 64, 3, 5, 64, 3, 3, 1, 1},   {259, 16, 2, 3, 16, 3, 3, 1, 1},
    {131, 32, 2, 2, 32, 3, 3, 1, 1}, {70, 64, 2, 3, 64, 3, 3, 1, 1},
};

TEST_CASE("conv2d: small planes with 16, 32 and 64 channels" * needs_gpu()) {
  for (const Case& c : kImageCases)
    check_all(c);
}

// A GPU has special kernels for small images of three channels whose width is even and whose number
// of pixels is a multiple of 8.
const Case kFirstLayerCases[] = {
    {2, 3, 32, 32, 16, 3, 3, 1, 1}, {3, 3, 4, 6, 16, 3, 3, 1, 1},   {2, 3, 8, 7, 16, 3, 3, 1, 1},
    {3, 3, 2, 6, 16, 3, 3, 1, 1},   {2, 3, 16, 16, 64, 3, 3, 1, 1}, {3, 3, 12, 10, 32, 3, 3, 1, 1},
    {259, 3, 4, 2, 16, 3, 3, 1, 1}, {130, 3, 2, 4, 64, 3, 3, 1, 1},
};

TEST_CASE("conv2d: small images of three channels" * needs_gpu()) {
  for (const Case& c : kFirstLayerCases)
    check_all(c);
}

TEST_CASE("conv2d: the workspace for a batch is enough for every smaller one") {
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    for (const Case& c : {Case{1, 16, 2, 2, 16, 3, 3, 1, 1}, Case{1, 64, 2, 1, 64, 3, 3, 1, 1},
                          Case{1, 3, 4, 4, 16, 3, 3, 1, 1}, Case{1, 5, 4, 4, 7, 1, 1, 1, 0}}) {
      const Conv2dShape shape = make_shape(c);
      size_t before = 0;
      for (int64_t batch = 1; batch <= 600; ++batch) {
        const size_t bytes = backend->conv2d.workspace_bytes(shape, batch);
        CAPTURE(batch);
        CHECK(bytes >= before);
        before = bytes;
      }
    }
  }
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

// These shapes fill each of a GPU's tiles and end in partly filled tiles.
const Case kTileCases[] = {
    {9, 8, 6, 5, 16, 3, 3, 1, 1},      {9, 16, 6, 5, 24, 1, 1, 1, 0},
    {5, 8, 7, 5, 40, 3, 3, 2, 1},      {7, 3, 6, 5, 70, 3, 3, 1, 1},
    {3, 24, 6, 5, 48, 3, 3, 1, 1, 3},  {67, 8, 16, 16, 64, 1, 1, 1, 0},
    {17, 8, 10, 10, 1416, 1, 1, 1, 0},
};

TEST_CASE("conv2d: sums of the output's channels" * needs_channel_sums()) {
  for (const Backend* backend : tested_backends()) {
    for (const Case& c : kTileCases) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      check_output_sums(*backend, Problem(c), true);
    }
    for (const Case& c : kFirstLayerCases) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      check_output_sums(*backend, Problem(c), true);
    }
    for (const Case& c : kImageCases) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      check_output_sums(*backend, Problem(c), true);
    }
  }
}

TEST_CASE("conv2d: summing the channels repeats, and leaves the output as it is" * needs_gpu()) {
  for (const Backend* backend : tested_backends()) {
    const Problem p({9, 8, 6, 5, 40, 3, 3, 1, 1});
    CAPTURE(backend->name);
    const Forward first = run_with_sums(*backend, p, true);
    const Forward second = run_with_sums(*backend, p, true);
    CHECK(first.partials == second.partials);
    CHECK(first.y == passes_of(*backend, p).forward(true));
  }
}

TEST_CASE("conv2d: sums of the output's channels far from zero" * needs_channel_sums()) {
  for (const Backend* backend : tested_backends()) {
    for (const double mean : {100.0, 3000.0})
      for (const Case& c :
           {Case{21, 8, 11, 13, 6, 3, 3, 1, 1}, Case{3, 16, 11, 13, 16, 3, 3, 1, 1}}) {
        Problem p(c);
        for (double& b : p.bias)
          b = mean;
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(mean);
        check_output_sums(*backend, p, true);
      }
  }
}

TEST_CASE("conv2d: backends of the CPU do not sum the output's channels" * needs_cpu()) {
  for (const Backend* backend : tested_backends())
    CHECK(output_sums_bytes(*backend, Problem({9, 3, 6, 5, 7, 3, 3, 1, 1})) == 0);
}

TEST_CASE(
    "conv2d: dense and grouped convolutions sum the output's channels, depthwise ones do not" *
    needs_channel_sums()) {
  for (const Backend* backend : tested_backends()) {
    CHECK(output_sums_bytes(*backend, Problem({9, 3, 6, 5, 7, 3, 3, 1, 1})) > 0);
    CHECK(output_sums_bytes(*backend, Problem({9, 16, 6, 5, 16, 3, 3, 1, 1, 2})) > 0);
    CHECK(output_sums_bytes(*backend, Problem({9, 16, 6, 5, 16, 3, 3, 1, 1, 16})) == 0);
  }
}

TEST_CASE("conv2d: the result does not depend on the number of threads") {
  const std::vector<Case> cases = {{20, 7, 6, 5, 13, 3, 3, 1, 1},
                                   {33, 20, 8, 8, 24, 3, 3, 2, 1},
                                   {2, 40, 3, 3, 70, 1, 1, 1, 0},
                                   {4, 9, 5, 5, 9, 3, 3, 1, 1, 9}};
  for (const Case& c : cases) {
    const Problem p(c);
    for (const Backend* backend : tested_backends()) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      Values y[3], dx[3], dw[3];
      for (int threads = 1; threads <= 3; ++threads) {
        const ThreadCount guard(threads);
        auto passes = passes_of(*backend, p);
        y[threads - 1] = passes.forward(false);
        dx[threads - 1] = passes.input_grad(GradWrite::overwrite);
        dw[threads - 1] = passes.weight_grad(GradWrite::overwrite, false, p.weight).first;
      }
      for (int other : {1, 2}) {
        CHECK(y[0] == y[other]);
        CHECK(dx[0] == dx[other]);
        CHECK(dw[0] == dw[other]);
      }
    }
  }
}
