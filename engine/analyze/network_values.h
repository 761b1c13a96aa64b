#pragma once
// Networks as values in host memory, which analyses compare, mix and put into a Network.

#include "engine/nn/network.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

/// Sets masks, weights, running statistics and the count of batches. Masked weights become +0. The
/// values must be those of a network of the same shapes, with masks.
void set_values(Network& network, const StoredNetwork& values);

/// Returns a copy of what set_values() sets.
StoredNetwork values_of(Network& network);

/// Returns (1 - alpha) * a + alpha * b, rounded to float, for weights and running statistics. The
/// mask keeps what either mask keeps. For alpha 0 and 1, the values are those of an end.
StoredNetwork between(const StoredNetwork& a, const StoredNetwork& b, double alpha);

}  // namespace sculpt
