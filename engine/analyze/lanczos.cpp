#include "engine/analyze/lanczos.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/analyze/tridiagonal.h"
#include "engine/analyze/vectors.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

/// Subtracts the parts of `vector` that lie along the vectors of the basis.
void make_orthogonal(Vector& vector, const std::vector<Vector>& basis) {
  for (int pass = 0; pass < 2; ++pass)
    for (const Vector& other : basis)
      add_scaled(vector, -dot(vector, other), other);
}

/// The matrix on the space that the products so far span: tridiagonal in the basis.
struct Projection {
  std::vector<Vector> basis;
  std::vector<double> diagonal, beside;
  double next = 0;  ///< the length of the part of the last product outside of the space
};

/// Adds a vector to the space. Returns the next vector, which is of no use if `next` is 0.
Vector extend(Projection& space, const SymmetricProduct& product) {
  const Vector& last = space.basis.back();
  Vector following = product(last);
  SCULPT_CHECK(following.size() == last.size(), "a product of {} elements with a vector of {}",
               following.size(), last.size());
  space.diagonal.push_back(dot(following, last));
  make_orthogonal(following, space.basis);
  space.next = norm(following);
  if (!std::isfinite(space.next) || !std::isfinite(space.diagonal.back()))
    fail("cannot compute eigenvalues: a product with the matrix is not finite");
  return following;
}

/// Compares the present Ritz values with those of one product before.
class Convergence {
 public:
  explicit Convergence(const LanczosOptions& options) : options_(options) {}

  /// `values` and `bounds` are those of the wanted eigenvalues; `size` is the largest absolute
  /// value of all.
  bool reached(const std::vector<double>& values, const std::vector<double>& bounds, double size) {
    bool settled =
        before_.size() == values.size() && values.size() == static_cast<size_t>(options_.count);
    for (size_t i = 0; i < values.size() && settled; ++i)
      settled = std::abs(values[i] - before_[i]) <= options_.tolerance * size &&
                bounds[i] <= LanczosOptions::kBoundFactor * options_.tolerance * size;
    before_ = values;
    return settled;
  }

 private:
  const LanczosOptions& options_;
  std::vector<double> before_;
};

}  // namespace

LanczosResult largest_by_lanczos(const SymmetricProduct& product, Vector start,
                                 const LanczosOptions& options) {
  const size_t size = start.size();
  const double length = norm(start);
  SCULPT_CHECK(length > 0 && std::isfinite(length), "the first vector has the length {}", length);
  scale(start, 1 / length);
  const size_t wanted = std::min(static_cast<size_t>(std::max(options.count, 1)), size);
  const auto most = std::min(static_cast<size_t>(std::max(options.most_products, 1)), size);

  Projection space;
  space.basis.push_back(std::move(start));
  Convergence convergence(options);
  LanczosResult result;
  TridiagonalEigen eigen;
  while (true) {
    Vector following = extend(space, product);
    eigen = eigen_of_tridiagonal(space.diagonal, space.beside);
    const size_t found = eigen.values.size();
    result.values.clear();
    result.bounds.clear();
    for (size_t i = 0; i < std::min(wanted, found); ++i) {
      result.values.push_back(eigen.values[found - 1 - i]);
      result.bounds.push_back(std::abs(space.next * eigen.vectors[found - 1 - i].back()));
    }
    const double largest = std::max(std::abs(eigen.values.front()), std::abs(eigen.values.back()));
    const bool whole = found == size || space.next <= std::numeric_limits<double>::epsilon() *
                                                          static_cast<double>(found) * largest;
    result.converged = convergence.reached(result.values, result.bounds, largest) || whole;
    if (result.converged || found == most) break;
    scale(following, 1 / space.next);
    space.beside.push_back(space.next);
    space.basis.push_back(std::move(following));
  }
  result.smallest = eigen.values.front();
  result.products = static_cast<int>(eigen.values.size());
  for (size_t i = 0; i < result.values.size(); ++i) {
    const std::vector<double>& weights = eigen.vectors[eigen.values.size() - 1 - i];
    Vector vector(size);
    for (size_t j = 0; j < weights.size(); ++j)
      add_scaled(vector, weights[j], space.basis[j]);
    scale(vector, 1 / norm(vector));
    result.vectors.push_back(std::move(vector));
  }
  return result;
}

}  // namespace sculpt
