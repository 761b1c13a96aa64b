// Eigenvalues of random matrices, compared with those that Jacobi's method finds.

#include "engine/analyze/lanczos.h"

#include <cmath>
#include <doctest/doctest.h>

#include "engine/analyze/tridiagonal.h"
#include "engine/core/error.h"
#include "engine/core/random.h"
#include "tests/analyze/jacobi.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix random_symmetric(size_t n, uint64_t seed) {
  const RandomStream random(seed, Purpose::test, 1);
  Matrix a(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j <= i; ++j)
      a[i][j] = a[j][i] = double{random.normal(i * n + j)};
  return a;
}

Vector times(const Matrix& a, const Vector& x) {
  Vector y(a.size());
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < x.size(); ++j)
      y[i] += a[i][j] * x[j];
  return y;
}

Vector random_vector(size_t n, uint64_t seed) {
  const RandomStream random(seed, Purpose::test, 2);
  Vector x(n);
  for (size_t i = 0; i < n; ++i)
    x[i] = double{random.normal(i)};
  return x;
}

double distance(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("tridiagonal: eigenvalues are those of Jacobi's method, vectors are eigenvectors") {
  for (const size_t n : {1, 2, 3, 7, 40}) {
    CAPTURE(n);
    for (const bool split : {false, true}) {
      const Vector diagonal = random_vector(n, 10 + n);
      Vector beside = random_vector(n, 20 + n);
      beside.pop_back();
      if (split && n > 2) beside[n / 2] = 0;
      Matrix a(n, std::vector<double>(n));
      for (size_t i = 0; i < n; ++i)
        a[i][i] = diagonal[i];
      for (size_t i = 0; i + 1 < n; ++i)
        a[i][i + 1] = a[i + 1][i] = beside[i];
      const TridiagonalEigen eigen = eigen_of_tridiagonal(diagonal, beside);
      const std::vector<double> expected = jacobi_eigenvalues(a);
      REQUIRE(eigen.values.size() == n);
      for (size_t i = 0; i < n; ++i) {
        CHECK(std::abs(eigen.values[i] - expected[i]) < 1e-12);
        Vector scaled = eigen.vectors[i];
        double length = 0;
        for (double& x : scaled) {
          length += x * x;
          x *= eigen.values[i];
        }
        CHECK(std::abs(length - 1) < 1e-12);
        CHECK(distance(times(a, eigen.vectors[i]), scaled) < 1e-12);
      }
    }
  }
  CHECK_THROWS_AS(eigen_of_tridiagonal({1, NAN}, {1}), Error);
}

TEST_CASE("lanczos: finds the largest eigenvalues, with vectors and true bounds") {
  for (const size_t n : {1, 2, 5, 60}) {
    const Matrix a = random_symmetric(n, n);
    const std::vector<double> expected = jacobi_eigenvalues(a);
    for (const int count : {1, 3}) {
      CAPTURE(n);
      CAPTURE(count);
      const LanczosResult found =
          largest_by_lanczos([&](const Vector& x) { return times(a, x); }, random_vector(n, 3),
                             {.count = count, .most_products = 200, .tolerance = 1e-9});
      CHECK(found.converged);
      CHECK(found.products <= static_cast<int>(n));
      REQUIRE(found.values.size() == std::min(n, static_cast<size_t>(count)));
      for (size_t i = 0; i < found.values.size(); ++i) {
        CHECK(std::abs(found.values[i] - expected[n - 1 - i]) < 1e-6);
        Vector scaled = found.vectors[i];
        for (double& x : scaled)
          x *= found.values[i];
        // The bound is the residual, which the iteration never computes.
        const double residual = distance(times(a, found.vectors[i]), scaled);
        CHECK(std::abs(residual - found.bounds[i]) < 1e-8);
      }
    }
  }
}

TEST_CASE("lanczos: the smallest eigenvalue may be larger in absolute value") {
  Matrix a = random_symmetric(30, 4);
  for (size_t i = 0; i < 30; ++i)
    a[i][i] -= 20;
  const std::vector<double> expected = jacobi_eigenvalues(a);
  REQUIRE(std::abs(expected.front()) > std::abs(expected.back()));
  const LanczosResult found =
      largest_by_lanczos([&](const Vector& x) { return times(a, x); }, random_vector(30, 5),
                         {.count = 1, .most_products = 30, .tolerance = 1e-10});
  CHECK(std::abs(found.values[0] - expected.back()) < 1e-6);
  CHECK(std::abs(found.smallest - expected.front()) < 1e-6);
}

TEST_CASE("lanczos: an invariant subspace ends the iteration, and a limit is honoured") {
  // A projection onto a line: two products see everything.
  const Vector u = random_vector(50, 6);
  double square = 0;
  for (const double x : u)
    square += x * x;
  const auto project = [&](const Vector& x) {
    double along = 0;
    for (size_t i = 0; i < x.size(); ++i)
      along += u[i] * x[i];
    Vector y = u;
    for (double& value : y)
      value *= along / square;
    return y;
  };
  const LanczosResult found = largest_by_lanczos(project, random_vector(50, 7), {.count = 1});
  CHECK(found.converged);
  CHECK(found.products <= 3);
  CHECK(std::abs(found.values[0] - 1) < 1e-12);

  const Matrix a = random_symmetric(60, 8);
  const LanczosResult cut =
      largest_by_lanczos([&](const Vector& x) { return times(a, x); }, random_vector(60, 9),
                         {.count = 1, .most_products = 4, .tolerance = 1e-9});
  CHECK_FALSE(cut.converged);
  CHECK(cut.products == 4);
  CHECK(cut.values[0] < jacobi_eigenvalues(a).back());

  const auto broken = [](const Vector& x) { return Vector(x.size(), NAN); };
  CHECK_THROWS_AS(largest_by_lanczos(broken, random_vector(3, 1), {}), Error);
}
