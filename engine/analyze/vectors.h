#pragma once
// Arithmetic of long vectors in host memory. Sums are taken over pieces of a fixed length and added
// in a fixed order, so results do not depend on the number of threads.

#include <span>

namespace sculpt {

/// Returns the scalar product of two vectors of the same length.
double dot(std::span<const double> a, std::span<const double> b);
/// Returns the Euclidean norm.
double norm(std::span<const double> values);
/// sum += factor * values.
void add_scaled(std::span<double> sum, double factor, std::span<const double> values);
/// values *= factor.
void scale(std::span<double> values, double factor);

}  // namespace sculpt
