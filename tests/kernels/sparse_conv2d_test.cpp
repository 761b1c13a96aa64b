// Sparse convolutions against plain loops in double over the kept weights.

#include "kernels/sparse_conv2d.h"

#include <algorithm>
#include <cstdint>

#include "kernels/common/parallel.h"
#include "tests/kernels/block_layer.h"
#include "tests/kernels/conv2d_case.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// Sums of a few thousand products of numbers in [-1, 1] in float.
constexpr double kTolerance = 2e-5;
/// The gradients of masked weights have this value before and after a pass.
constexpr double kUntouched = 77;

std::vector<uint8_t> random_mask(int64_t count, double density, uint64_t seed) {
  std::vector<uint8_t> mask;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t word = sculpt::philox4x32(seed, static_cast<uint64_t>(i), 5)[0];
    mask.push_back(sculpt::philox_uniform(word) < density ? 1 : 0);
  }
  return mask;
}

/// A convolution with everything it reads, a mask, and what its passes should give. Masked weights
/// have values, too, which no kernel may use.
struct Problem : ConvInputs, ConvResults {
  Problem(const Case& c, double density, bool kept_only = false)
      : Problem(ConvInputs(c), density, kept_only) {}

  /// Values of all weights as kernels are given them.
  Values as_stored(const Values& all) const {
    if (!only_kept) return all;
    Values kept;
    for (size_t w = 0; w < all.size(); ++w)
      if (mask[w] != 0) kept.push_back(all[w]);
    return kept;
  }

  std::vector<uint8_t> mask;
  bool only_kept;
  SparsePattern conv;

 private:
  Problem(ConvInputs inputs, double density, bool kept_only)
      : Problem(inputs, random_mask(inputs.shape.weight_count(), density, 6), kept_only) {}
  Problem(const ConvInputs& inputs, const std::vector<uint8_t>& kept, bool kept_only)
      : ConvInputs(inputs),
        ConvResults(inputs, [&](size_t w) { return kept[w] != 0; }),
        mask(kept),
        only_kept(kept_only),
        conv(shape, mask) {
    if (only_kept) conv.keep_only();
  }
};

LayerPasses<SparseConv2dKernels, SparsePattern> passes_of(const Backend& backend,
                                                          const Problem& p) {
  return {.backend = backend,
          .kernels = backend.sparse_conv2d,
          .shape = p.conv,
          .inputs = p,
          .weight = Array(backend, p.as_stored(p.weight)),
          .workspace_bytes = backend.sparse_conv2d.workspace_bytes(p.conv)};
}

void check_forward(const Backend& backend, const Problem& p, bool with_bias) {
  Values expected = p.y;
  for (size_t i = 0; i < expected.size(); ++i)
    if (with_bias) expected[i] += p.bias[p.channel_of(i)];
  CHECK(relative_error(passes_of(backend, p).forward(with_bias), expected) < kTolerance);
}

void check_input_grad(const Backend& backend, const Problem& p, GradWrite write) {
  const Values expected = write == GradWrite::accumulate ? sum_of(p.dx, p.x) : p.dx;
  CHECK(relative_error(passes_of(backend, p).input_grad(write), expected) < kTolerance);
}

void check_weight_grad(const Backend& backend, const Problem& p, GradWrite write) {
  const bool add = write == GradWrite::accumulate;
  Values expected = add ? sum_of(p.dweight, p.weight) : p.dweight;
  for (size_t w = 0; w < expected.size(); ++w)
    if (p.mask[w] == 0) expected[w] = kUntouched;
  const Values expected_bias = add ? sum_of(p.dbias, p.bias) : p.dbias;

  Values before = p.weight;
  for (size_t w = 0; w < before.size(); ++w)
    if (p.mask[w] == 0) before[w] = kUntouched;
  const auto [dweight, dbias] = passes_of(backend, p).weight_grad(write, true, p.as_stored(before));
  CHECK(relative_error(dweight, p.as_stored(expected)) < kTolerance);
  CHECK(relative_error(dbias, expected_bias) < kTolerance);
  if (p.only_kept) return;
  int64_t touched = 0;
  for (size_t w = 0; w < before.size(); ++w)
    touched += p.mask[w] == 0 && dweight[w] != kUntouched;
  CHECK(touched == 0);
}

/// Compares passes on blocks, the last block first and a few rows at a time, with passes on whole
/// batches.
void check_blocks(const Backend& backend, const Problem& p, GradWrite write) {
  const SparseConv2dBlockKernels& kernels = backend.sparse_conv2d.on_blocks;
  BlockLayer layer(backend, kernels, p.conv, p);
  const Values stored = p.as_stored(p.weight);
  Array weight(backend, stored), dweight(backend, stored);
  DeviceScratch values(backend, kernels.values_bytes(p.conv));
  // Two partial gradients, as two threads would make them; two more of all rows at once.
  const size_t partial_bytes = kernels.partial_bytes(p.conv);
  DeviceScratch partials(backend, 4 * partial_bytes);
  const auto partial = [&](int64_t i) {
    return static_cast<std::byte*>(partials.data()) + static_cast<size_t>(i) * partial_bytes;
  };
  std::fill(partial(0), partial(4), std::byte{0});

  kernels.gather(values.data(), weight.data(), p.conv);
  for (int64_t b = layer.blocks() - 1; b >= 0; --b) {
    layer.forward(b, {.weight = values.data()});
    layer.input_grad(b, {.write = write, .weight = values.data()});
    // The rows run from the top, because sums depend on their order. The sums are then those of all
    // rows at once.
    layer.weight_grad(b, {.dweight = partial(b % 2)},
                      row_ranges(p.shape.out, static_cast<uint64_t>(b) + 200));
    layer.weight_grad(b, {.dweight = partial(2 + b % 2)}, {all_rows(p.shape.out)});
  }
  CHECK(std::equal(partial(0), partial(2), partial(2)));
  kernels.sum_partials(dweight.data(), partials.data(), 2, p.conv, write);

  auto whole = passes_of(backend, p);
  layer.check_same(whole, write);
  const Values whole_dweight = whole.weight_grad(write, false, stored).first;
  CHECK(relative_error(dweight.values(), whole_dweight) < kTolerance);
}

template <class Body>
void for_each_backend(const Body& body) {
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    body(*backend);
  }
}

void check(const Case& c, double density, bool only_kept) {
  CAPTURE(c.name());
  CAPTURE(density);
  CAPTURE(only_kept);
  const Problem problem(c, density, only_kept);
  for_each_backend([&](const Backend& backend) {
    for (const bool flag : {false, true}) {
      const GradWrite write = flag ? GradWrite::accumulate : GradWrite::overwrite;
      check_forward(backend, problem, flag);
      check_input_grad(backend, problem, write);
      check_weight_grad(backend, problem, write);
      check_blocks(backend, problem, write);
    }
  });
}

void check_all(const Case& c, double density) {
  for (const bool only_kept : {false, true})
    check(c, density, only_kept);
}

TEST_CASE("sparse conv2d: layers of the networks" * needs_cpu()) {
  for (const double density : {0.3, 0.02})
    for (const Case& c : {Case{5, 16, 20, 20, 16, 3, 3, 1, 1}, Case{17, 16, 12, 12, 24, 3, 3, 2, 1},
                          Case{5, 24, 8, 8, 40, 1, 1, 2, 0}, Case{20, 48, 4, 4, 40, 3, 3, 1, 1},
                          Case{3, 3, 30, 30, 8, 7, 7, 2, 3}, Case{40, 50, 1, 1, 10, 1, 1, 1, 0}})
      check(c, density, /*only_kept=*/density < 0.1);
}

TEST_CASE("sparse conv2d: odd sizes, groups, kernels larger and smaller than the stride" *
          needs_cpu()) {
  for (const Case& c : {Case{1, 1, 1, 1, 1, 1, 1, 1, 0}, Case{7, 5, 9, 13, 3, 3, 3, 1, 1, 1, 1},
                        Case{17, 6, 11, 7, 4, 5, 5, 1, 2}, Case{2, 4, 10, 8, 6, 3, 2, 3, 2, 2},
                        Case{18, 9, 5, 5, 9, 3, 3, 1, 1, 9}, Case{4, 4, 7, 15, 4, 1, 1, 3, 0},
                        Case{2, 3, 6, 5, 5, 4, 4, 2, 3}, Case{1, 40, 3, 2, 7, 2, 3, 1, 1, 1, 2}})
    check_all(c, 0.4);
}

/// Returns true if partial gradients have more than one number for each kept weight.
bool keeps_lanes(const Backend& backend, const SparsePattern& conv) {
  return backend.sparse_conv2d.on_blocks.partial_bytes(conv) >
         2 * static_cast<size_t>(conv.kept()) * sizeof(float);
}

TEST_CASE("sparse conv2d: several bands of rows, with lanes kept apart and without" * needs_cpu()) {
  // Bands of 8 of 11 rows (in: 4 of 22), 16 of 33, 2 of 5, 12 of 28.
  for (const Case& c : {Case{2, 20, 22, 18, 32, 3, 3, 2, 1}, Case{2, 24, 33, 5, 24, 3, 3, 1, 1},
                        Case{17, 60, 5, 33, 40, 1, 1, 1, 0}, Case{2, 9, 81, 19, 30, 4, 4, 3, 2}})
    for (const double density : {0.9, 0.1}) {
      CAPTURE(c.name());
      CAPTURE(density);
      const Problem problem(c, density, /*kept_only=*/density < 0.5);
      CHECK(bands_of(problem.shape.out) > 1);
      for_each_backend([&](const Backend& backend) {
        CHECK(keeps_lanes(backend, problem.conv) == (density < 0.5));
        for (const GradWrite write : kWrites)
          check_blocks(backend, problem, write);
      });
    }
}

TEST_CASE("sparse conv2d: so many kept weights that kernels work on windows" * needs_cpu()) {
  // Wide and narrow planes, with tiles that are left over, more than one segment of input channels,
  // other kernels than 3x3, and strides (the input gradient then has windows of its own).
  for (const Case& c : {Case{3, 70, 7, 21, 66, 3, 3, 1, 1}, Case{3, 64, 6, 7, 70, 3, 3, 1, 1, 1, 1},
                        Case{18, 13, 9, 12, 44, 2, 3, 1, 1}, Case{2, 66, 12, 18, 80, 3, 3, 2, 1},
                        Case{2, 24, 18, 34, 20, 3, 3, 2, 0}, Case{2, 65, 5, 9, 64, 3, 3, 1, 2},
                        Case{2, 12, 8, 8, 60, 1, 1, 1, 0}})
    for (const double density : {2.0, 0.5, 0.2}) {
      const Problem problem(c, density);
      const bool wanted = c.kernel_h == 3 && density >= 0.5;
      const auto has_windows = [](const SparseTaps& taps) { return taps.windows.has_value(); };
      if (wanted && c.in_channels >= 64) CHECK(has_windows(problem.conv.forward()));
      if (wanted)
        CHECK((has_windows(problem.conv.forward()) || has_windows(problem.conv.weight_grad()) ||
               std::ranges::any_of(problem.conv.input_grad(), has_windows)));
      check_all(c, density);
    }
}

TEST_CASE("sparse conv2d: nothing kept, everything kept" * needs_cpu()) {
  const Case c = {18, 6, 7, 6, 5, 3, 3, 1, 1};
  check_all(c, -1);
  check_all(c, 2);
  CHECK(Problem(c, -1).conv.kept() == 0);
  CHECK(Problem(c, 2).conv.kept() == 6 * 5 * 9);
}

TEST_CASE("sparse conv2d: outputs do not depend on the number of threads" * needs_cpu()) {
  const Problem p({40, 20, 6, 6, 30, 3, 3, 1, 1}, 0.1);
  const int threads = sculpt::thread_count();
  for_each_backend([&](const Backend& backend) {
    std::vector<Values> results;
    for (const int count : {1, 2, 3, 7}) {
      sculpt::set_thread_count(count);
      results.push_back(passes_of(backend, p).forward(false));
    }
    for (const Values& other : results)
      CHECK(other == results.front());
  });
  sculpt::set_thread_count(threads);
}

}  // namespace
