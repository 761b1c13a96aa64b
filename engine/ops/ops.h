#pragma once
// This file declares all ops. Each function checks shapes, records a node and returns the node's
// output. Activations are [N, C, H, W] with N the batch; a "feature vector" is [N, C, 1, 1]. Errors
// name the layer and the offending shapes.
//
// The gradient of each op is defined next to its value in ops/<family>.cpp.

#include <optional>
#include <string>

#include "engine/autograd/graph.h"
#include "engine/ops/kernel_settings.h"

namespace sculpt::ops {

struct Conv2dOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t groups = 1;
};

/// The weight is OIHW [out, in / groups, kh, kw], and the bias is [out].
Value conv2d(Graph& graph, const std::string& name, Value x, ParameterId weight,
             std::optional<ParameterId> bias, Conv2dOptions options,
             const KernelSettings& kernel_settings = {});
/// Returns the shape of the convolution that a node of a finished graph computes; null if the node
/// is not a convolution.
const kernels::Conv2dShape* conv2d_shape(const Node& node);

/// x is [N, in, 1, 1], the weight is [out, in], and the bias is [out]. The result is [N, out, 1,
/// 1].
Value linear(Graph& graph, const std::string& name, Value x, ParameterId weight,
             std::optional<ParameterId> bias, const KernelSettings& kernel_settings = {});

struct BatchNormParameters {
  ParameterId gamma = -1;
  ParameterId beta = -1;
  StateId running_mean = -1;
  StateId running_var = -1;
};

struct BatchNormOptions {
  float eps = 1e-5f;
  float momentum = 0.1f;
  bool relu = false;              ///< fused ReLU behind the norm (and the residual)
  std::optional<Value> residual;  ///< added before the ReLU; same shape as x
};

Value batch_norm(Graph& graph, const std::string& name, Value x, BatchNormParameters parameters,
                 BatchNormOptions options);

Value relu(Graph& graph, const std::string& name, Value x);
Value add(Graph& graph, const std::string& name, Value a, Value b);
/// Zeroes each element with probability `rate` in training, and scales the other elements by
/// 1 / (1 - rate). `salt` distinguishes several dropouts of a network.
Value dropout(Graph& graph, const std::string& name, Value x, float rate, uint64_t salt);
/// Reshapes [N, C, H, W] to [N, C*H*W, 1, 1].
Value flatten(Graph& graph, const std::string& name, Value x);

struct PoolOptions {
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t padding = 0;  ///< at most kernel / 2
};

Value max_pool(Graph& graph, const std::string& name, Value x, PoolOptions options);
Value average_pool(Graph& graph, const std::string& name, Value x, PoolOptions options);
/// Computes the mean over H and W, which is [N, C, 1, 1].
Value global_average_pool(Graph& graph, const std::string& name, Value x);

/// The loss node of a graph computes the softmax cross-entropy of logits [N, classes, 1, 1].
class SoftmaxCrossEntropy;
SoftmaxCrossEntropy* softmax_cross_entropy(Graph& graph, Value logits, float label_smoothing);

}  // namespace sculpt::ops
