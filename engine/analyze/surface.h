#pragma once
// The loss around a network, on a plane through it (Li et al. 2018).
//
// The plane is spanned by two random directions, which are normalised filter by filter: the part of
// a direction that belongs to an output channel of a convolution, or to a row of a linear layer,
// gets the norm of the network's weights there. Directions are zero for biases, for batch norm and
// for masked weights.

#include <cstdint>
#include <vector>

#include "engine/analyze/analysis_images.h"
#include "engine/analyze/network_values.h"

namespace sculpt {

struct SurfaceOptions {
  int64_t points = 25;  ///< per side
  double extent = 1;    ///< the plane reaches from -extent to extent
  uint64_t seed = 0;    ///< of the directions
};

struct Surface {
  std::vector<double> steps;  ///< the coordinates of both axes
  /// values[y * steps.size() + x] belong to the weights + steps[x] * first + steps[y] * second.
  std::vector<double> loss, accuracy;
};

/// Returns a direction as a value for each element of all parameters. Its random numbers depend
/// only on (seed, number, global index), so that all networks of the same shapes share them; masks
/// and norms are those of `values`.
std::vector<double> filter_normalised_direction(const ParameterArena& parameters,
                                                const StoredNetwork& values, uint64_t seed,
                                                int64_t number);

/// Measures loss and accuracy on the training images, in evaluation mode. The network has other
/// values afterwards.
Surface measure_surface(Network& network, const StoredNetwork& values, const AnalysisImages& images,
                        const SurfaceOptions& options);

}  // namespace sculpt
