#include "engine/analyze/tridiagonal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/core/error.h"

namespace sculpt {
namespace {

/// The matrix while it is made diagonal, and the product of all rotations so far.
struct Work {
  std::vector<double> d;               // the diagonal
  std::vector<double> e;               // e[i] couples i and i + 1; the last element is 0
  std::vector<std::vector<double>> v;  // v[i] becomes the eigenvector of d[i]
};

/// Returns the first m >= l with a coupling e[m] that is negligible beside its neighbours.
size_t end_of_block(const Work& work, size_t l) {
  size_t m = l;
  for (; m + 1 < work.d.size(); ++m) {
    const double neighbours = std::abs(work.d[m]) + std::abs(work.d[m + 1]);
    if (std::abs(work.e[m]) <= std::numeric_limits<double>::epsilon() * neighbours) break;
  }
  return m;
}

/// One QL step with an implicit shift on the block [l, m]. The step chases a bulge from the end of
/// the block to its beginning by rotations of neighbouring rows.
void ql_step(Work& work, size_t l, size_t m) {
  auto& [d, e, v] = work;
  // The shift is the eigenvalue of the leading 2x2 block that is closer to d[l] (Wilkinson).
  const double half = (d[l + 1] - d[l]) / (2 * e[l]);
  const double root = std::hypot(half, 1.0);
  double g = d[m] - d[l] + e[l] / (half + std::copysign(root, half));
  double s = 1, c = 1, p = 0;
  for (size_t i = m; i-- > l;) {
    const double f = s * e[i], b = c * e[i];
    const double r = std::hypot(f, g);
    e[i + 1] = r;
    if (r == 0) {  // the block splits here
      d[i + 1] -= p;
      e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - p;
    const double t = (d[i] - g) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = g + p;
    g = c * t - b;
    for (size_t k = 0; k < v[i].size(); ++k) {
      const double upper = v[i + 1][k];
      v[i + 1][k] = s * v[i][k] + c * upper;
      v[i][k] = c * v[i][k] - s * upper;
    }
  }
  d[l] -= p;
  e[l] = g;
  e[m] = 0;
}

}  // namespace

TridiagonalEigen eigen_of_tridiagonal(const std::vector<double>& diagonal,
                                      const std::vector<double>& beside) {
  const size_t n = diagonal.size();
  SCULPT_CHECK(n >= 1 && beside.size() + 1 == n, "a diagonal of {} with {} elements beside it", n,
               beside.size());
  const auto finite = [](double x) { return std::isfinite(x); };
  if (!std::ranges::all_of(diagonal, finite) || !std::ranges::all_of(beside, finite))
    fail("cannot compute eigenvalues: the matrix has elements that are not finite");
  Work work{diagonal, beside, std::vector(n, std::vector<double>(n))};
  work.e.push_back(0);
  for (size_t i = 0; i < n; ++i)
    work.v[i][i] = 1;
  constexpr int kMostSteps = 100;  // each eigenvalue takes two or three
  for (size_t l = 0; l < n; ++l) {
    int steps = 0;
    for (size_t m = end_of_block(work, l); m != l; m = end_of_block(work, l)) {
      SCULPT_CHECK(++steps <= kMostSteps, "an eigenvalue takes more than {} steps", kMostSteps);
      ql_step(work, l, m);
    }
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return work.d[i]; });
  TridiagonalEigen result;
  for (const size_t i : order) {
    result.values.push_back(work.d[i]);
    result.vectors.push_back(std::move(work.v[i]));
  }
  return result;
}

}  // namespace sculpt
