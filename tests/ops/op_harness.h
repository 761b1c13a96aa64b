#pragma once
// The op harness. A case is written once (shapes and how to record the op) and is checked three
// ways:
//
//  * gradients on the reference backend, in double, against central finite differences;
//  * value and gradients of every CPU backend of this machine against the reference;
//  * zero borders of all activations still zero afterwards.
//
// Values of the reference itself are checked against plain formulas in tests/kernels.

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd/graph.h"

namespace sculpt::test {

struct OpCase {
  std::string name;
  std::vector<kernels::ActivationShape> inputs;  ///< halo is ignored
  int64_t batch = 3;
  /// Registers parameters with graph.parameters() and records the op(s); returns the output.
  std::function<Value(Graph&, const std::vector<Value>& inputs)> record;
  Mode mode = Mode::train;
  double input_scale = 1;  ///< standard deviation of the random inputs
  double input_shift = 0;
};

/// Runs all checks of a case; failures are doctest failures that name it.
void check_op(const OpCase& op);

/// Names (NodeInfo::op) of all ops that any check_op of this process has recorded.
std::vector<std::string> checked_ops();

}  // namespace sculpt::test
