#pragma once
// Eigenvalues and eigenvectors of a small symmetric tridiagonal matrix.

#include <vector>

namespace sculpt {

struct TridiagonalEigen {
  std::vector<double> values;  ///< in ascending order
  /// vectors[i] has unit length and belongs to values[i].
  std::vector<std::vector<double>> vectors;
};

/// Computes all eigenpairs by the QL method with implicit shifts. `diagonal` has n >= 1 elements,
/// and `beside` the n - 1 elements beside the diagonal. Throws Error if an element is not finite.
TridiagonalEigen eigen_of_tridiagonal(const std::vector<double>& diagonal,
                                      const std::vector<double>& beside);

}  // namespace sculpt
