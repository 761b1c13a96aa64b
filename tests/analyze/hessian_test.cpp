// Curvature of small networks, compared with the full Hessian. The full Hessian is made of central
// differences of gradients in double, with steps too short to change an activation pattern, and
// some of its elements are checked against second differences of the loss.
//
// SCULPT_HESSIAN_TABLE=1 prints the table of docs/results/hessian_check.md.

#include "engine/analyze/hessian.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "engine/analyze/analysis_images.h"
#include "engine/core/error.h"
#include "tests/analyze/jacobi.h"
#include "tests/support/comparison.h"
#include "tests/support/scored_networks.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

using Matrix = std::vector<std::vector<double>>;
constexpr int64_t kMaxBatch = 8;
constexpr int64_t kImages = 20;  // pieces of 6, 7 and 7 images

/// A network with masks and with statistics of its images.
struct SmallNetwork {
  SmallNetwork(const NetworkSpec& spec, double density, uint64_t seed,
               const kernels::Backend& backend)
      : network(spec, backend, kMaxBatch), batches(spec, kImages, seed) {
    network.initialise(seed);
    const RandomStream random(seed, Purpose::test, 77);
    ParameterArena& arena = network.parameters();
    arena.edit_masks([&](std::span<uint8_t> masks) {
      for (const Parameter& p : arena.parameters())
        for (int64_t i = p.offset; p.prunable && i < p.offset + p.count; ++i)
          masks[static_cast<size_t>(i)] =
              static_cast<double>(random.uniform(static_cast<uint64_t>(i))) < density;
    });
    if (!arena.states().empty()) {
      const auto images = [&](int64_t first, int64_t count) {
        const Batch all = batches(0);
        return Batch{all.images + first * spec.image.count(), all.labels + first, count};
      };
      reestimate_batch_norm(network, images, kImages, batches.normalization, [] { return false; });
    }
  }
  MeanLoss loss() {
    return {network, 1, [this](int64_t index) { return batches(index); }, batches.normalization,
            Mode::frozen};
  }

  Network network;
  RandomBatches batches;
};

/// The global indices of the kept prunable weights.
std::vector<size_t> kept_indices(const ParameterArena& arena) {
  std::vector<size_t> kept;
  for (const Parameter& p : arena.parameters())
    for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
      if (p.prunable && arena.masks()[i] != 0) kept.push_back(i);
  return kept;
}

std::vector<double> gradient_of_kept(SmallNetwork& small) {
  Buffer sum = zeroed_scores(small.network.parameters());
  add_mean_gradient(small.loss(), 1, sum);
  const auto all = on_host(sum, small.network.parameters().backend());
  const auto mask = prunable_mask(small.network.parameters());
  std::vector<double> kept;
  for (size_t i = 0; i < all.size(); ++i)
    if (mask[i] != 0) kept.push_back(all[i]);
  return kept;
}

/// The mean loss, by evaluation.
double loss_of(SmallNetwork& small) {
  const Batch batch = small.batches(0);
  const int64_t image = small.network.spec().image.count();
  double loss = 0;
  for (int64_t first = 0; first < kImages; first += kMaxBatch) {
    const int64_t count = std::min(kMaxBatch, kImages - first);
    small.network.load({batch.images + first * image, batch.labels + first, count},
                       small.batches.normalization);
    loss += small.network.forward(Mode::eval).loss;
  }
  return loss / kImages;
}

/// Row i is the derivative of the gradient along kept weight i. The network must be on the
/// reference backend.
Matrix full_hessian(SmallNetwork& small) {
  constexpr double kStep = 1e-6;
  ParameterArena& arena = small.network.parameters();
  Matrix hessian;
  for (const size_t i : kept_indices(arena)) {
    const double origin = arena.weights<double>()[i];
    arena.edit_weights<double>()[i] = origin + kStep;
    std::vector<double> row = gradient_of_kept(small);
    arena.edit_weights<double>()[i] = origin - kStep;
    const std::vector<double> below = gradient_of_kept(small);
    arena.edit_weights<double>()[i] = origin;
    for (size_t j = 0; j < row.size(); ++j)
      row[j] = (row[j] - below[j]) / (2 * kStep);
    hessian.push_back(row);
  }
  // Differences of gradients are symmetric but for rounding.
  for (size_t i = 0; i < hessian.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      hessian[i][j] = hessian[j][i] = (hessian[i][j] + hessian[j][i]) / 2;
  return hessian;
}

double second_difference(SmallNetwork& small, size_t i, size_t j) {
  constexpr double kStep = 2e-5;
  ParameterArena& arena = small.network.parameters();
  double sum = 0;
  for (const int a : {1, -1})
    for (const int b : {1, -1}) {
      const double at_i = arena.weights<double>()[i], at_j = arena.weights<double>()[j];
      arena.edit_weights<double>()[i] += a * kStep;
      arena.edit_weights<double>()[j] += b * kStep;
      sum += a * b * loss_of(small);
      arena.edit_weights<double>()[i] = at_i;
      arena.edit_weights<double>()[j] = at_j;
    }
  return sum / (4 * kStep * kStep);
}

double trace_of(const Matrix& a) {
  double trace = 0;
  for (size_t i = 0; i < a.size(); ++i)
    trace += a[i][i];
  return trace;
}

struct Case {
  const char* name;
  NetworkSpec spec;
  double density;
};

std::vector<Case> cases() {
  return {{"two linear layers", mlp_spec({6, 7, 4}), 1},
          {"two linear layers, masked", mlp_spec({6, 7, 4}), 0.5},
          {"convolutions with batch norm, masked", four_layer_spec(), 0.6}};
}

}  // namespace

TEST_CASE("hessian: eigenvalues, residuals and trace are those of the full Hessian") {
  const OneThread one_thread;
  const bool print = std::getenv("SCULPT_HESSIAN_TABLE") != nullptr;
  if (print)
    fmt::print(
        "| network | kept weights | quantity | full Hessian | in double (residual) | in float "
        "(residual) |\n"
        "|---|---:|---|---:|---:|---:|\n");
  uint64_t seed = 40;
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    SmallNetwork exact(c.spec, c.density, ++seed, kernels::reference_backend());
    const Matrix full = full_hessian(exact);
    const std::vector<double> expected = jacobi_eigenvalues(full);
    const size_t n = full.size();

    // The full Hessian itself, against the loss alone.
    const std::vector<size_t> kept = kept_indices(exact.network.parameters());
    const RandomStream random(seed, Purpose::test, 5);
    for (uint64_t k = 0; k < 12; ++k) {
      const size_t i = random.below(2 * k, n), j = k < 4 ? i : random.below(2 * k + 1, n);
      CHECK(std::abs(second_difference(exact, kept[i], kept[j]) - full[i][j]) <
            1e-4 * std::abs(expected.back()) + 1e-6);
    }

    const LanczosOptions options{.count = 3, .most_products = 200, .tolerance = 1e-6};
    constexpr int kProbes = 200;
    std::vector<std::string> rows[5];
    const auto note = [&](size_t row, double value) {
      rows[row].push_back(fmt::format("{:.6g}", value));
    };
    for (size_t i = 0; i < 3; ++i)
      note(i, expected[n - 1 - i]);
    note(3, expected.front());
    note(4, trace_of(full));
    double variance = 0;  // of one probe: twice the squares beside the diagonal
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j)
        if (i != j) variance += 2 * full[i][j] * full[i][j];

    std::vector<const kernels::Backend*> backends = {&kernels::reference_backend()};
    for (const kernels::Backend* backend : test::tested_backends())
      backends.push_back(backend);
    for (size_t b = 0; b < backends.size(); ++b) {
      CAPTURE(backends[b]->name);
      const bool is_double = b == 0;
      // The CUDA backend's host layer is slow: one network and few probes have to do there.
      const bool on_device = backends[b]->memory != nullptr;
      if (on_device && exact.network.parameters().states().empty()) continue;
      const int probes = on_device ? 10 : kProbes;
      const auto network = exact.network.rebuild(*backends[b], kMaxBatch);
      const KeptHessian hessian(MeanLoss{*network, 1,
                                         [&](int64_t index) { return exact.batches(index); },
                                         exact.batches.normalization, Mode::frozen});
      REQUIRE(hessian.size() == static_cast<int64_t>(n));
      const double within = (is_double ? 1e-5 : 5e-3) * expected.back();

      const TopEigenvalues top = largest_eigenvalues(hessian, 7, options);
      REQUIRE(top.largest.size() == 3);
      for (size_t i = 0; i < 3; ++i) {
        CHECK(std::abs(top.largest[i].value - expected[n - 1 - i]) < within);
        // An eigenvalue lies within the residual, which is small.
        CHECK(top.largest[i].residual < (is_double ? 1e-3 : 2e-2) * expected.back());
        double nearest = INFINITY;
        for (const double value : expected)
          nearest = std::min(nearest, std::abs(value - top.largest[i].value));
        CHECK(nearest <= top.largest[i].residual + within);
      }
      CHECK(top.smallest_ritz > expected.front() - within);

      const TraceEstimate trace = estimate_trace(hessian, 7, probes);
      CHECK(std::abs(trace.trace - trace_of(full)) < 4 * trace.standard_error + within);
      const double standard_error = std::sqrt(variance / probes);
      CHECK(trace.standard_error > (on_device ? 0.3 : 0.6) * standard_error);
      CHECK(trace.standard_error < (on_device ? 2.5 : 1.6) * standard_error);
      if (b > 1 || on_device) continue;
      for (size_t i = 0; i < 3; ++i)
        rows[i].push_back(
            fmt::format("{:.6g} ({:.1e})", top.largest[i].value, top.largest[i].residual));
      note(3, top.smallest_ritz);
      rows[4].push_back(fmt::format("{:.4g} ± {:.2g}", trace.trace, trace.standard_error));
    }
    const char* const quantities[] = {"largest eigenvalue", "second", "third",
                                      "smallest (Ritz value)", "trace (200 probes)"};
    for (size_t row = 0; print && row < 5; ++row)
      fmt::print("| {} | {} | {} | {} |\n", row == 0 ? c.name : "",
                 row == 0 ? fmt::format("{}", n) : "", quantities[row],
                 fmt::format("{} | {} | {}", rows[row][0], rows[row][1], rows[row][2]));
  }
}

TEST_CASE("hessian: the seed decides the numbers, and nothing of the network changes") {
  SmallNetwork small(four_layer_spec(), 0.6, 50, *test::tested_backends().front());
  small.network.parameters().store_dense();
  const auto weights_before =
      std::vector<float>(small.network.parameters().weights<float>().begin(),
                         small.network.parameters().weights<float>().end());
  const KeptHessian hessian(small.loss());
  const TopEigenvalues first = largest_eigenvalues(hessian, 1, {}),
                       again = largest_eigenvalues(hessian, 1, {}),
                       other = largest_eigenvalues(hessian, 2, {});
  CHECK(first.largest[0].value == again.largest[0].value);
  CHECK(first.largest[0].residual == again.largest[0].residual);
  CHECK(first.largest[0].value != other.largest[0].value);
  CHECK(std::abs(first.largest[0].value - other.largest[0].value) < 0.01 * first.largest[0].value);
  CHECK(estimate_trace(hessian, 1, 5).trace == estimate_trace(hessian, 1, 5).trace);
  small.network.parameters().store_dense();
  CHECK(std::ranges::equal(weights_before, small.network.parameters().weights<float>()));

  small.network.parameters().edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : small.network.parameters().parameters())
      if (p.prunable) std::ranges::fill(ParameterArena::slice(masks, p), uint8_t{0});
  });
  CHECK_THROWS_AS(KeptHessian(small.loss()), Error);
}
