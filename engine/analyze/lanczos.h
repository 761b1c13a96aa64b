#pragma once
// The method of Lanczos finds the largest eigenvalues of a symmetric matrix that is known only by
// its products with vectors. Each new vector is made orthogonal to all earlier ones, twice, so that
// rounding errors produce no copies of eigenvalues (full reorthogonalisation; Golub & Van Loan,
// Matrix Computations, section 10.3).

#include <functional>
#include <vector>

namespace sculpt {

using Vector = std::vector<double>;
/// Returns the product of the matrix with a vector.
using SymmetricProduct = std::function<Vector(const Vector&)>;

struct LanczosOptions {
  int count = 1;            ///< how many of the largest eigenvalues are wanted
  int most_products = 100;  ///< the method ends after so many products
  /// The method ends when, from one product to the next, none of the values changes by more than
  /// this fraction of the largest absolute value, and the error bound of each of them is below
  /// kBoundFactor times this fraction of it.
  double tolerance = 1e-3;
  static constexpr double kBoundFactor = 50;
};

struct LanczosResult {
  std::vector<double> values;   ///< the largest Ritz values, in descending order
  std::vector<Vector> vectors;  ///< their Ritz vectors, of unit length
  /// An eigenvalue of the matrix lies within bounds[i] of values[i].
  std::vector<double> bounds;
  /// The smallest Ritz value, which is an upper bound of the smallest eigenvalue.
  double smallest = 0;
  int products = 0;
  bool converged = false;  ///< false if most_products came first
};

/// Starts from `start`, which must not be zero; its length is the size of the matrix. If the matrix
/// has fewer rows than values are wanted, all of its eigenvalues are found. Throws Error if a
/// product is not finite.
LanczosResult largest_by_lanczos(const SymmetricProduct& product, Vector start,
                                 const LanczosOptions& options);

}  // namespace sculpt
