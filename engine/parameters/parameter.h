#pragma once
// These structs describe the arrays that a network keeps from step to step.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/parameters/kept_pattern.h"

namespace sculpt {

enum class ParameterKind { conv_weight, linear_weight, bias, norm_weight, norm_bias };

struct Parameter {
  std::string name;  ///< as in the usual PyTorch model, e.g. "layer1.0.conv1.weight"
  ParameterKind kind{};
  std::vector<int64_t> shape;  ///< conv [out, in/groups, kh, kw], linear [out, in], else [n]
  int64_t offset = 0;          ///< first element in the arenas
  int64_t count = 0;
  bool prunable = false;  ///< conv and linear weights, unless exempt
};

/// A persistent array that is not a parameter: the running statistics of batch norm.
struct StateArray {
  std::string name;  ///< e.g. "layer1.0.bn1.running_mean"
  int64_t offset = 0;
  int64_t count = 0;
  float initial = 0;
};

using StateId = int;
using OptimizerArrayId = int;

}  // namespace sculpt
