// Winograd convolutions against plain loops in double, within the bounds that winograd.h states.

#include "kernels/winograd.h"

#include <cmath>
#include <numbers>

#include "kernels/common/parallel.h"
#include "tests/kernels/block_layer.h"
#include "tests/kernels/conv2d_case.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// Returns standard normal numbers, rounded to float (Box-Muller).
Values normal_values(int64_t count, uint64_t seed) {
  Values values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto words = sculpt::philox4x32(seed, i, 0);
    const double radius = std::sqrt(-2 * std::log(1 - double{sculpt::philox_uniform(words[0])}));
    const double angle = 2 * std::numbers::pi * double{sculpt::philox_uniform(words[1])};
    values[i] = static_cast<float>(radius * std::cos(angle));
  }
  return values;
}

/// A convolution with everything it reads, and what its passes should give.
struct Problem : ConvInputs, ConvResults {
  explicit Problem(const Case& c)
      : ConvInputs(c, normal_values),
        ConvResults(static_cast<const ConvInputs&>(*this), [](size_t) { return true; }) {}
};

/// Checks the two bounds of winograd.h. A result may include what was there before. Errors are
/// compared with `computed`, which is what the pass adds.
void check_errors(const Values& actual, const Values& expected, const Values& computed) {
  REQUIRE(actual.size() == expected.size());
  double error = 0, norm = 0, worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    error += difference * difference;
    norm += computed[i] * computed[i];
    worst = std::max(worst, difference);  // a NaN shows in `error`
  }
  const double root_mean_square = std::sqrt(norm / static_cast<double>(actual.size()));
  CHECK(std::sqrt(error) < kWinogradError * std::sqrt(norm));
  CHECK(worst < kWinogradMaxError * root_mean_square);
}

LayerPasses<WinogradKernels, Conv2dShape> passes_of(const Backend& backend, const Problem& p) {
  return {.backend = backend,
          .kernels = backend.winograd,
          .shape = p.shape,
          .inputs = p,
          .weight = Array(backend, p.weight),
          .workspace_bytes = backend.winograd.workspace_bytes(p.shape, p.batch)};
}

template <class Body>
void for_each_backend(const Body& body) {
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    body(*backend);
  }
}

void check_all(const Case& c) {
  CAPTURE(c.name());
  const Problem p(c);
  REQUIRE(winograd_fits(p.shape));
  Values biased = p.y;
  for (size_t i = 0; i < biased.size(); ++i)
    biased[i] += p.bias[p.channel_of(i)];
  for_each_backend([&](const Backend& backend) {
    auto passes = passes_of(backend, p);
    check_errors(passes.forward(false), p.y, p.y);
    check_errors(passes.forward(true), biased, biased);
    for (const bool add : {false, true}) {
      CAPTURE(add);
      const GradWrite write = add ? GradWrite::accumulate : GradWrite::overwrite;
      const Values dx = passes.input_grad(write);
      check_errors(dx, add ? sum_of(p.dx, p.x) : p.dx, add ? sum_of(p.dx, p.x) : p.dx);
      const auto [dweight, dbias] = passes.weight_grad(write, true, p.weight);
      check_errors(dweight, add ? sum_of(p.dweight, p.weight) : p.dweight, p.dweight);
      CHECK(relative_error(dbias, add ? sum_of(p.dbias, p.bias) : p.dbias) < 1e-5);
    }
  });
}

/// Compares passes on blocks, the last block first and a few rows at a time, with passes over whole
/// batches.
void check_blocks(const Backend& backend, const Problem& p, GradWrite write) {
  const WinogradBlockKernels& kernels = backend.winograd.on_blocks;
  BlockLayer layer(backend, kernels, p.shape, p);
  Array weight(backend, p.weight), dweight(backend, p.weight);
  DeviceScratch points(backend, kernels.points_bytes(p.shape, ConvPass::forward));
  DeviceScratch turned(backend, kernels.points_bytes(p.shape, ConvPass::input_grad));
  DeviceScratch scratch(backend, kernels.scratch_bytes(p.shape));
  const size_t partial_bytes = kernels.partial_bytes(p.shape);
  DeviceScratch partials(backend, 2 * partial_bytes);  // as two threads would make them
  auto* const partial = static_cast<std::byte*>(partials.data());
  std::fill_n(partial, 2 * partial_bytes, std::byte{0});

  kernels.transform(points.data(), weight.data(), p.shape, ConvPass::forward);
  kernels.transform(turned.data(), weight.data(), p.shape, ConvPass::input_grad);
  for (int64_t b = layer.blocks() - 1; b >= 0; --b) {
    layer.forward(b, {.weight = points.data(), .workspace = scratch.data()});
    layer.input_grad(b, {.write = write, .weight = turned.data(), .workspace = scratch.data()});
    layer.weight_grad(b,
                      {.dweight = partial + static_cast<size_t>(b % 2) * partial_bytes,
                       .workspace = scratch.data()},
                      shuffled_row_ranges(p.shape.out, static_cast<uint64_t>(b) + 200));
  }
  kernels.sum_partials(dweight.data(), partials.data(), 2, p.shape, write);

  auto whole = passes_of(backend, p);
  layer.check_same(whole, write);
  const bool add = write == GradWrite::accumulate;
  check_errors(dweight.values(), add ? sum_of(p.dweight, p.weight) : p.dweight, p.dweight);
}

TEST_CASE("winograd: rows of blocks, of one band and of several" * needs_cpu()) {
  for (const Case& c :
       {Case{20, 33, 12, 11, 29, 3, 3, 1, 1, 1, 1}, Case{17, 20, 26, 17, 24, 3, 3, 1, 1},
        Case{33, 16, 9, 34, 18, 3, 3, 1, 2}, Case{2, 40, 4, 4, 50, 3, 3, 1, 0}}) {
    CAPTURE(c.name());
    const Problem p(c);
    for_each_backend([&](const Backend& backend) {
      for (const GradWrite write : kWrites)
        check_blocks(backend, p, write);
    });
  }
}

TEST_CASE("winograd: layers of the networks" * needs_cpu()) {
  for (const Case& c : {Case{1, 64, 12, 12, 64, 3, 3, 1, 1}, Case{2, 128, 8, 8, 64, 3, 3, 1, 1},
                        Case{18, 70, 4, 4, 50, 3, 3, 1, 1}, Case{1, 512, 4, 4, 100, 3, 3, 1, 1}})
    check_all(c);
}

TEST_CASE("winograd: weights larger than the points of all tiles" * needs_cpu()) {
  check_all({1, 516, 4, 18, 244, 3, 3, 1, 1});
}

TEST_CASE("winograd: the workspace of the largest batch is enough for smaller ones" * needs_cpu()) {
  for (const Case& c : {Case{1, 64, 32, 32, 64, 3, 3, 1, 1}, Case{1, 256, 8, 8, 256, 3, 3, 1, 1},
                        Case{1, 512, 4, 4, 512, 3, 3, 1, 1}}) {
    CAPTURE(c.name());
    const Conv2dShape shape = make_shape(c);
    for_each_backend([&](const Backend& backend) {
      const auto bytes = [&](int64_t batch) {
        return backend.winograd.workspace_bytes(shape, batch);
      };
      for (int64_t batch = 1; batch <= 512; batch += 15) {
        CAPTURE(batch);
        for (const int64_t smaller : {batch / 2, batch - 1})
          if (smaller > 0) CHECK(bytes(smaller) <= bytes(batch));
      }
    });
  }
}

TEST_CASE("winograd: odd planes, any padding, few channels, batches of any size" * needs_cpu()) {
  for (const Case& c :
       {Case{1, 1, 1, 1, 1, 3, 3, 1, 1}, Case{17, 5, 7, 7, 3, 3, 3, 1, 1},
        Case{3, 8, 5, 9, 7, 3, 3, 1, 0}, Case{2, 3, 6, 13, 19, 3, 3, 1, 2},
        Case{16, 17, 3, 3, 6, 3, 3, 1, 0}, Case{40, 9, 2, 1, 13, 3, 3, 1, 2},
        Case{4, 20, 9, 4, 12, 3, 3, 1, 1, 1, 2}, Case{20, 33, 10, 11, 29, 3, 3, 1, 1, 1, 1}})
    check_all(c);
}

TEST_CASE("winograd: many tiles pass in chunks" * needs_cpu()) {
  check_all({1, 16, 50, 49, 20, 3, 3, 1, 1});
}

TEST_CASE("winograd: results do not depend on the number of threads" * needs_cpu()) {
  const int threads = sculpt::thread_count();
  for (const Case& c : {Case{40, 20, 6, 6, 30, 3, 3, 1, 1}, Case{5, 24, 4, 4, 70, 3, 3, 1, 1}}) {
    const Problem p(c);
    for_each_backend([&](const Backend& backend) {
      sculpt::set_thread_count(1);
      auto one = passes_of(backend, p);
      const Values y = one.forward(true);
      const Values dx = one.input_grad(GradWrite::overwrite);
      const auto gradients = one.weight_grad(GradWrite::overwrite, true, p.weight);
      for (const int count : {2, 3, 7}) {
        sculpt::set_thread_count(count);
        auto many = passes_of(backend, p);
        CHECK(many.forward(true) == y);
        CHECK(many.input_grad(GradWrite::overwrite) == dx);
        CHECK(many.weight_grad(GradWrite::overwrite, true, p.weight) == gradients);
      }
    });
  }
  sculpt::set_thread_count(threads);
}

TEST_CASE("winograd: chosen for wide convolutions that it can compute, of enough tiles" *
          needs_cpu()) {
  const auto shape = [](int64_t channels, int64_t side, int64_t kernel, int64_t stride,
                        int64_t padding, int64_t groups) {
    return make_shape(
        {64, channels, side, side, channels, kernel, kernel, stride, padding, groups});
  };
  for_each_backend([&](const Backend& backend) {
    const WinogradKernels& winograd = backend.winograd;
    for (const Conv2dShape& wide : {shape(16, 32, 3, 1, 1, 1), shape(32, 16, 3, 1, 1, 1),
                                    shape(128, 16, 3, 1, 1, 1), shape(512, 4, 3, 1, 1, 1)}) {
      CHECK(winograd.pays(wide, 64));
    }
    CHECK(!winograd.pays(shape(512, 4, 3, 1, 1, 1), 16));
    // Too narrow; planes that fill a quarter of a tile, or a bit more than one.
    for (const Conv2dShape& other :
         {shape(8, 32, 3, 1, 1, 1), shape(128, 2, 3, 1, 1, 1), shape(128, 5, 3, 1, 1, 1),
          shape(128, 16, 3, 2, 1, 1), shape(128, 16, 3, 1, 1, 2), shape(128, 16, 1, 1, 0, 1),
          shape(128, 16, 3, 1, 3, 1)}) {
      CHECK(!winograd.pays(other, 64));
    }
  });
}

}  // namespace
