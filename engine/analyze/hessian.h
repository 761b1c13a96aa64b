#pragma once
// Curvature of the loss: the largest eigenvalues and the trace of the Hessian.
//
// The Hessian is that of a MeanLoss with respect to the prunable weights that the mask keeps.
// Masked weights, biases, and gamma and beta of batch norm are constants. All numbers here are
// functions of (network, images, seed, number of threads).

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/analyze/lanczos.h"
#include "engine/nn/mean_loss.h"

namespace sculpt {

/// The Hessian as a matrix that multiplies vectors. A vector has an element for each kept prunable
/// weight, in global-index order.
class KeptHessian {
 public:
  /// The network of `loss` must outlive the object, and its masks must stay as they are. On a
  /// backend that computes with less precision than float, the object has a copy of the network
  /// that computes in float.
  explicit KeptHessian(const MeanLoss& loss);

  /// Returns the number of kept prunable weights.
  int64_t size() const { return static_cast<int64_t>(kept_.size()); }
  /// Multiplies one vector, or several vectors, which share the pass over the images that records
  /// activation patterns. Throws the errors of hessian_product().
  Vector multiply(const Vector& vector) const;
  std::vector<Vector> multiply(std::span<const Vector> vectors) const;

 private:
  std::unique_ptr<Network> copy_;  // null: the network itself is precise enough
  MeanLoss loss_;
  std::vector<int64_t> kept_;  // positions among all prunable weights
};

struct Eigenvalue {
  double value = 0;  ///< the Rayleigh quotient v'Hv of the unit Ritz vector v
  /// The norm of Hv - value * v. An eigenvalue of H lies within it.
  double residual = 0;
};

struct TopEigenvalues {
  std::vector<Eigenvalue> largest;  ///< in descending order of the Ritz values
  double smallest_ritz = 0;         ///< an upper bound of the smallest eigenvalue
  int iterations = 0;               ///< products of the iteration
  bool converged = false;
};

/// Finds the largest eigenvalues by the method of Lanczos, from a random start that depends on the
/// seed, and measures the residual of each with one more product.
TopEigenvalues largest_eigenvalues(const KeptHessian& hessian, uint64_t seed,
                                   const LanczosOptions& options);

struct TraceEstimate {
  double trace = 0;
  double standard_error = 0;  ///< of the mean over the probes
  int probes = 0;
};

/// Estimates the trace by the mean of z'Hz over random vectors z with elements +1 and -1
/// (Hutchinson 1990). `probes` must be at least 2.
TraceEstimate estimate_trace(const KeptHessian& hessian, uint64_t seed, int probes);

}  // namespace sculpt
