#pragma once
// Eigenvalues of a small symmetric matrix by Jacobi's method: plain loops in double, independent of
// what the engine does.

#include <algorithm>
#include <cmath>
#include <vector>

namespace sculpt::testing {

/// Returns the eigenvalues in ascending order. `a` has n rows of n elements.
inline std::vector<double> jacobi_eigenvalues(std::vector<std::vector<double>> a) {
  const size_t n = a.size();
  double size = 0;
  for (const auto& row : a)
    for (const double x : row)
      size += x * x;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double beside = 0;
    for (size_t p = 0; p < n; ++p)
      for (size_t q = p + 1; q < n; ++q)
        beside += a[p][q] * a[p][q];
    if (beside <= 1e-28 * size) break;
    for (size_t p = 0; p < n; ++p)
      for (size_t q = p + 1; q < n; ++q) {
        if (a[p][q] == 0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = std::copysign(1 / (std::abs(theta) + std::hypot(theta, 1.0)), theta);
        const double c = 1 / std::hypot(t, 1.0), s = t * c;
        for (size_t k = 0; k < n; ++k) {
          const double kp = a[k][p], kq = a[k][q];
          a[k][p] = c * kp - s * kq;
          a[k][q] = s * kp + c * kq;
        }
        for (size_t k = 0; k < n; ++k) {
          const double pk = a[p][k], qk = a[q][k];
          a[p][k] = c * pk - s * qk;
          a[q][k] = s * pk + c * qk;
        }
      }
  }
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i)
    values[i] = a[i][i];
  std::ranges::sort(values);
  return values;
}

}  // namespace sculpt::testing
