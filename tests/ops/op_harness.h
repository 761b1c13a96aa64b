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
#include <set>
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

/// Runs all checks of each case. A failure is a doctest failure that names the case.
void check_ops(const std::vector<OpCase>& cases);

/// Returns the names (NodeInfo::op) of the ops that a case records.
std::set<std::string> ops_of(const OpCase& op);

}  // namespace sculpt::test
