// Every CPU backend's fully connected layer against plain loops in double on row-major matrices.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <limits>
#include <vector>

#include "kernels/backend.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace {

using namespace sculpt::kernels;
using Values = std::vector<double>;

constexpr int64_t kLanes = 16;
constexpr double kTolerance = 2e-5;

Values random_values(int64_t count, uint32_t seed) {
  Values values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 2.0 * sculpt::philox_uniform(sculpt::philox4x32(seed, i, 0)[0]) - 1.0;
  return values;
}

size_t packed_index(int64_t n, int64_t f, int64_t features) {
  return static_cast<size_t>((n / kLanes * features + f) * kLanes + n % kLanes);
}

/// [batch][features] to [blocks][features][lanes].
std::vector<float> pack(const Values& plain, int64_t batch, int64_t features, float padded_lanes) {
  std::vector<float> packed(static_cast<size_t>(ceil_div(batch, kLanes) * features * kLanes),
                            padded_lanes);
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t f = 0; f < features; ++f)
      packed[packed_index(n, f, features)] =
          static_cast<float>(plain[static_cast<size_t>(n * features + f)]);
  return packed;
}

Values unpack(const std::vector<float>& packed, int64_t batch, int64_t features) {
  Values plain(static_cast<size_t>(batch * features));
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t f = 0; f < features; ++f)
      plain[static_cast<size_t>(n * features + f)] = packed[packed_index(n, f, features)];
  return plain;
}

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

struct Problem {
  Problem(int64_t batch_, int64_t in_, int64_t out_)
      : batch(batch_),
        in(in_),
        out(out_),
        x(random_values(batch * in, 1)),
        dy(random_values(batch * out, 2)),
        weight(random_values(out * in, 3)),
        bias(random_values(out, 4)) {}

  /// Calls body(x index, weight index, y index) for every multiply-add.
  template <class Body>
  void for_each_product(const Body& body) const {
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t o = 0; o < out; ++o)
        for (int64_t i = 0; i < in; ++i)
          body(static_cast<size_t>(n * in + i), static_cast<size_t>(o * in + i),
               static_cast<size_t>(n * out + o));
  }

  LinearShape shape() const { return {in, out}; }

  int64_t batch, in, out;
  Values x, dy, weight, bias;
};

struct Results {
  Values y, dx, dweight, dbias;
};

Results run(const Backend& backend, const Problem& p, bool with_bias, GradWrite write) {
  std::vector<double> scratch(backend.linear.workspace_bytes(p.shape(), p.batch) / 8 + 8);
  void* workspace =
      scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64 / 8;
  const auto x = pack(p.x, p.batch, p.in, 3.0f);
  const auto dy = pack(p.dy, p.batch, p.out, 0.0f);
  auto y = pack(p.dy, p.batch, p.out, -7.0f);
  auto dx = pack(p.x, p.batch, p.in, 0.0f);
  const auto weight = to_float(p.weight);
  auto dweight = weight;
  const auto bias = to_float(p.bias);
  auto dbias = bias;
  const Launch launch{.batch = p.batch};
  backend.linear.forward(y.data(), x.data(), weight.data(), with_bias ? bias.data() : nullptr,
                         p.shape(), workspace, launch);
  backend.linear.input_grad(dx.data(), dy.data(), weight.data(), p.shape(), write, workspace,
                            launch);
  backend.linear.weight_grad(dweight.data(), with_bias ? dbias.data() : nullptr, dy.data(),
                             x.data(), p.shape(), write, workspace, launch);
  return {unpack(y, p.batch, p.out), unpack(dx, p.batch, p.in), to_double(dweight),
          to_double(dbias)};
}

Results expect(const Problem& p, bool with_bias, GradWrite write) {
  const bool add = write == GradWrite::accumulate;
  Results r;
  r.y.resize(p.dy.size());
  for (size_t i = 0; i < r.y.size(); ++i)
    r.y[i] = with_bias ? p.bias[i % static_cast<size_t>(p.out)] : 0.0;
  r.dx = add ? p.x : Values(p.x.size(), 0.0);
  r.dweight = add ? p.weight : Values(p.weight.size(), 0.0);
  r.dbias = add || !with_bias ? p.bias : Values(p.bias.size(), 0.0);
  p.for_each_product([&](size_t x, size_t w, size_t y) {
    r.y[y] += p.weight[w] * p.x[x];
    r.dx[x] += p.weight[w] * p.dy[y];
    r.dweight[w] += p.dy[y] * p.x[x];
  });
  for (size_t i = 0; with_bias && i < p.dy.size(); ++i)
    r.dbias[i % static_cast<size_t>(p.out)] += p.dy[i];
  return r;
}

}  // namespace

TEST_CASE("linear: values and gradients") {
  const std::vector<Problem> problems = {{1, 1, 1},     {1, 33, 10},  {5, 7, 3},
                                         {16, 64, 10},  {17, 20, 31}, {40, 5, 6},
                                         {130, 84, 10}, {300, 3, 2},  {33, 400, 120}};
  for (const Problem& p : problems)
    for (const Backend* backend : available_cpu_backends())
      for (const bool with_bias : {false, true})
        for (const GradWrite write : {GradWrite::overwrite, GradWrite::accumulate}) {
          CAPTURE(backend->name);
          CAPTURE(p.batch);
          CAPTURE(p.in);
          CAPTURE(p.out);
          const Results expected = expect(p, with_bias, write);
          const Results got = run(*backend, p, with_bias, write);
          CHECK(relative_error(got.y, expected.y) < kTolerance);
          CHECK(relative_error(got.dx, expected.dx) < kTolerance);
          CHECK(relative_error(got.dweight, expected.dweight) < kTolerance);
          CHECK(relative_error(got.dbias, expected.dbias) < kTolerance);
        }
}

TEST_CASE("linear: the result does not depend on the number of threads") {
  const int before = sculpt::thread_count();
  const Problem p(50, 37, 29);
  for (const Backend* backend : available_cpu_backends()) {
    CAPTURE(backend->name);
    sculpt::set_thread_count(1);
    const Results one = run(*backend, p, true, GradWrite::overwrite);
    for (const int threads : {2, 3}) {
      sculpt::set_thread_count(threads);
      const Results many = run(*backend, p, true, GradWrite::overwrite);
      CHECK(one.y == many.y);
      CHECK(one.dx == many.dx);
      CHECK(one.dweight == many.dweight);
      CHECK(one.dbias == many.dbias);
    }
  }
  sculpt::set_thread_count(before);
}
