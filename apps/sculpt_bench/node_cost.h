#pragma once
// What an op of a recorded network must move and compute: its floor. Every activation is read and
// written once, and nothing stays in a cache; weights are left out, being small beside them. Only
// weights that the mask keeps are multiplied.

#include <cstdint>

#include "engine/autograd/graph.h"

namespace sculpt::bench {

struct Cost {
  double flops = 0;
  double bytes = 0;
};

Cost forward_cost(const Graph& graph, const Node& node, int64_t batch);
Cost backward_cost(const Graph& graph, const Node& node, int64_t batch);

}  // namespace sculpt::bench
