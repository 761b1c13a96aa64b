#pragma once
// Linear mode connectivity (Frankle et al. 2020): loss and error on the straight line between two
// networks.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/analyze/analysis_images.h"
#include "engine/analyze/network_values.h"

namespace sculpt {

/// The network at (1 - alpha) * a + alpha * b.
struct LinePoint {
  double alpha = 0;
  Evaluation train, test;
};

struct Line {
  /// Batch norm's running statistics are estimated on the training images at every point.
  std::vector<LinePoint> recomputed;
  /// The running statistics are interpolated like the weights. Empty for a network without batch
  /// norm, whose points do not depend on statistics.
  std::vector<LinePoint> interpolated;
};

/// Measures `points` (at least 2) evenly spaced values of alpha, 0 and 1 included. Weights are
/// masked by the union of both masks. The network has other values afterwards.
Line evaluate_line(Network& network, const StoredNetwork& a, const StoredNetwork& b, int64_t points,
                   const AnalysisImages& images);

/// Returns the largest of the values minus the mean of the first and the last one. It is negative
/// if no value exceeds that mean.
double barrier(std::span<const double> values);

/// The barriers of a line: of losses, and of errors as fractions.
struct Barriers {
  double train_loss = 0, train_error = 0, test_loss = 0, test_error = 0;
};
Barriers barriers_of(std::span<const LinePoint> points);

/// Two networks whose test error has a barrier below this fraction count as connected.
inline constexpr double kConnectedBelow = 0.02;

}  // namespace sculpt
