// Compares the matrix products that the project requests from cuBLAS with loops over NHWC
// activations and OI weights. fake_cublas.cpp replaces cuBLAS, so the tests need no GPU.

#include <cmath>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <limits>
#include <vector>

#include "kernels/cuda/element.h"
#include "kernels/cudnn/plans.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::cudnn;
using cuda::bf16;
using cuda::from_float;
using cuda::Precision;
using cuda::to_float;

using Numbers = std::vector<double>;

/// Returns small whole numbers. They are exact in bf16, and their sums are exact in float.
Numbers numbers(int64_t count, int seed) {
  Numbers values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<double>((i * 7 + seed * 5) % 9 - 4));
  return values;
}

template <class T>
std::vector<T> stored(const Numbers& values) {
  std::vector<T> result;
  for (const double v : values)
    result.push_back(from_float<T>(static_cast<float>(v)));
  return result;
}

template <class T>
Numbers loaded(const std::vector<T>& values) {
  Numbers result;
  for (const T v : values)
    result.push_back(static_cast<double>(to_float(v)));
  return result;
}

struct Case {
  int64_t batch, ins, outs, height, width;

  Conv2dShape shape() const {
    Conv2dShape s;
    s.in = {ins, height, width, 0};
    s.out = {outs, height, width, 0};
    return s;
  }
  int64_t pixels() const { return batch * height * width; }
};

/// out [rows][columns] = sum over k of a(row, k) * b(k, column).
template <class A, class B>
Numbers product(int64_t rows, int64_t columns, int64_t depth, const A& a, const B& b) {
  Numbers out;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += a(row, k) * b(k, column);
      out.push_back(sum);
    }
  return out;
}

template <class In, class Out>
Numbers run(const cuda::LibraryProblem& problem, const Numbers& activation, const Numbers& other,
            const Numbers& before) {
  std::string why_not;
  const auto plan = plan_matrix_product(problem, 4096, why_not);
  REQUIRE(plan != nullptr);
  REQUIRE(plan->workspace_bytes() <= 4096);
  alignas(256) static std::byte workspace[4096];
  const auto a = stored<In>(activation), b = stored<In>(other);
  auto out = stored<Out>(before);
  plan->run(out.data(), a.data(), b.data(), workspace, nullptr);
  return loaded(out);
}

/// Runs a pass in the element types of the precision. The weight gradient is float.
Numbers run_precision(const cuda::LibraryProblem& problem, const Numbers& activation,
                      const Numbers& other, const Numbers& before) {
  if (problem.precision != Precision::bf16)
    return run<float, float>(problem, activation, other, before);
  if (problem.pass == ConvPass::weight_grad)
    return run<bf16, float>(problem, activation, other, before);
  return run<bf16, bf16>(problem, activation, other, before);
}

TEST_CASE("cublas: the products requested from cuBLAS are the right ones") {
  for (const Case& c : {Case{5, 3, 4, 1, 1}, Case{2, 7, 2, 3, 2}, Case{1, 1, 6, 2, 2},
                        Case{4, 5, 1, 1, 1}, Case{3, 4, 4, 1, 1}}) {
    const Numbers x = numbers(c.pixels() * c.ins, 1), dy = numbers(c.pixels() * c.outs, 2);
    const Numbers w = numbers(c.outs * c.ins, 3);
    const auto at = [](const Numbers& matrix, int64_t columns) {
      return [&matrix, columns](int64_t row, int64_t column) {
        return matrix[static_cast<size_t>(row * columns + column)];
      };
    };
    const auto transposed = [](const auto& matrix) {
      return [&matrix](int64_t row, int64_t column) { return matrix(column, row); };
    };
    const auto x_at = at(x, c.ins), dy_at = at(dy, c.outs), w_at = at(w, c.ins);
    const Numbers y = product(c.pixels(), c.outs, c.ins, x_at, transposed(w_at));
    const Numbers dx = product(c.pixels(), c.ins, c.outs, dy_at, w_at);
    const Numbers dw = product(c.outs, c.ins, c.pixels(), transposed(dy_at), x_at);
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      CAPTURE(static_cast<int>(precision));
      CAPTURE(
          fmt::format("batch {} ins {} outs {} {}x{}", c.batch, c.ins, c.outs, c.height, c.width));
      const auto problem = [&](ConvPass pass, bool accumulate) {
        return cuda::LibraryProblem{precision, pass, c.shape(), c.batch, accumulate};
      };
      const auto garbage = [](const Numbers& like) {
        return Numbers(like.size(), std::numeric_limits<double>::quiet_NaN());
      };
      CHECK(run_precision(problem(ConvPass::forward, false), x, w, garbage(y)) == y);
      CHECK(run_precision(problem(ConvPass::input_grad, false), dy, w, garbage(dx)) == dx);
      CHECK(run_precision(problem(ConvPass::weight_grad, false), dy, x, garbage(dw)) == dw);
      Numbers sum = dx;
      for (size_t i = 0; i < sum.size(); ++i)
        sum[i] += x[i];
      CHECK(run_precision(problem(ConvPass::input_grad, true), dy, w, x) == sum);
    }
  }
}

TEST_CASE("cublas: products with more pixels than an int can count are left to other kernels") {
  Conv2dShape shape;
  shape.in = shape.out = {1, 65536, 65536, 0};
  std::string why_not;
  CHECK(plan_matrix_product({Precision::fp32, ConvPass::forward, shape, 1}, 0, why_not) == nullptr);
  CHECK(why_not.starts_with("cuBLAS counts in 32 bits"));
}

}  // namespace
