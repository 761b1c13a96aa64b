// Every backend's fully connected layer against plain loops in double on row-major matrices.

#include <cstdint>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

constexpr double kTolerance = 2e-5;

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
  DeviceScratch scratch(backend, backend.linear.workspace_bytes(p.shape(), p.batch));
  const Launch launch = make_launch(backend, p.batch);
  const ActivationShape in = {p.in, 1, 1, 0}, out = {p.out, 1, 1, 0};
  Activation x(backend, in, launch, p.x, 3.0), dy(backend, out, launch, p.dy, 0.0);
  Activation y(backend, out, launch, p.dy, -7.0), dx(backend, in, launch, p.x, 0.0);
  Array weight = packed_weight(backend, p.weight, p.in, 1);
  Array bias(backend, p.bias), dweight(backend, p.weight), dbias(backend, p.bias);
  backend.linear.forward({.y = y.data(),
                          .x = x.data(),
                          .weight = weight.data(),
                          .bias = with_bias ? bias.data() : nullptr,
                          .workspace = scratch.data(),
                          .launch = launch},
                         p.shape());
  backend.linear.input_grad({.dx = dx.data(),
                             .write = write,
                             .dy = dy.data(),
                             .weight = weight.data(),
                             .workspace = scratch.data(),
                             .launch = launch},
                            p.shape());
  backend.linear.weight_grad({.dweight = dweight.data(),
                              .dbias = with_bias ? dbias.data() : nullptr,
                              .write = write,
                              .dy = dy.data(),
                              .x = x.data(),
                              .workspace = scratch.data(),
                              .launch = launch},
                             p.shape());
  CHECK(y.frame_intact());
  CHECK(dx.frame_intact());
  return {y.nchw(), dx.nchw(), dweight.values(), dbias.values()};
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
    for (const Backend* backend : tested_backends())
      for (const bool with_bias : {false, true})
        for (const GradWrite write : {GradWrite::overwrite, GradWrite::accumulate}) {
          CAPTURE(backend->name);
          CAPTURE(p.batch);
          CAPTURE(p.in);
          CAPTURE(p.out);
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
