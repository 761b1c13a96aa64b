// Every backend's fully connected layer against plain loops in double on row-major matrices.

#include <cstdint>

#include "tests/kernels/layer_passes.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

constexpr double kTolerance = 2e-5;

struct Problem : LayerInputs {
  Problem(int64_t images, int64_t in_features, int64_t out_features)
      : LayerInputs({in_features, 1, 1, 0}, {out_features, 1, 1, 0}, images,
                    in_features * out_features),
        shape{in_features, out_features} {}

  /// Calls body(x index, weight index, y index) for every multiply-add.
  template <class Body>
  void for_each_product(const Body& body) const {
    const auto [inputs, outputs] = shape;
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t o = 0; o < outputs; ++o)
        for (int64_t i = 0; i < inputs; ++i)
          body(static_cast<size_t>(n * inputs + i), static_cast<size_t>(o * inputs + i),
               static_cast<size_t>(n * outputs + o));
  }

  LinearShape shape;
};

struct Results {
  Values y, dx, dweight, dbias;
};

Results run(const Backend& backend, const Problem& p, bool with_bias, GradWrite write) {
  LayerPasses<LinearKernels, LinearShape> passes = {
      .backend = backend,
      .kernels = backend.linear,
      .shape = p.shape,
      .inputs = p,
      .weight = packed_weight(backend, p.weight, p.shape.in_features, 1),
      .workspace_bytes = backend.linear.workspace_bytes(p.shape, p.batch),
      .frame = Frame::nan};
  const auto [dweight, dbias] = passes.weight_grad(write, with_bias, p.weight);
  return {passes.forward(with_bias), passes.input_grad(write), dweight, dbias};
}

Results expect(const Problem& p, bool with_bias, GradWrite write) {
  const bool add = write == GradWrite::accumulate;
  Results r;
  r.y.resize(p.dy.size());
  for (size_t i = 0; i < r.y.size(); ++i)
    r.y[i] = with_bias ? p.bias[p.channel_of(i)] : 0.0;
  r.dx = add ? p.x : Values(p.x.size(), 0.0);
  r.dweight = add ? p.weight : Values(p.weight.size(), 0.0);
  r.dbias = add || !with_bias ? p.bias : Values(p.bias.size(), 0.0);
  p.for_each_product([&](size_t x, size_t w, size_t y) {
    r.y[y] += p.weight[w] * p.x[x];
    r.dx[x] += p.weight[w] * p.dy[y];
    r.dweight[w] += p.dy[y] * p.x[x];
  });
  for (size_t i = 0; with_bias && i < p.dy.size(); ++i)
    r.dbias[p.channel_of(i)] += p.dy[i];
  return r;
}

}  // namespace

TEST_CASE("linear: values and gradients") {
  const std::vector<Problem> problems = {{1, 1, 1},     {1, 33, 10},  {5, 7, 3},
                                         {16, 64, 10},  {17, 20, 31}, {40, 5, 6},
                                         {130, 84, 10}, {300, 3, 2},  {33, 400, 120}};
  for (const Problem& p : problems)
    for (const Backend* backend : tested_backends())
      for (const bool with_bias : {false, true})
        for (const GradWrite write : {GradWrite::overwrite, GradWrite::accumulate}) {
          CAPTURE(backend->name);
          CAPTURE(p.batch);
          CAPTURE(p.shape.in_features);
          CAPTURE(p.shape.out_features);
          const Results expected = expect(p, with_bias, write);
          const Results got = run(*backend, p, with_bias, write);
          const double allowed = product_tolerance(*backend, kTolerance);
          CHECK(relative_error(got.y, expected.y) < allowed);
          CHECK(relative_error(got.dx, expected.dx) < allowed);
          CHECK(relative_error(got.dweight, expected.dweight) < allowed);
          CHECK(relative_error(got.dbias, expected.dbias) < allowed);
        }
}

TEST_CASE("linear: the result does not depend on the number of threads") {
  const int before = sculpt::thread_count();
  const Problem p(50, 37, 29);
  for (const Backend* backend : tested_backends()) {
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
