// Describes a problem to cuDNN's graph API, and chooses among the engines that cuDNN proposes.

#include <algorithm>
#include <array>

#include "kernels/common/check.h"
#include "kernels/cudnn/plans.h"

namespace sculpt::kernels::cudnn {
namespace {

using cuda::Precision;

/// The names of a pass's operation and operands in cuDNN. The unique ids are those of EnginePlan's
/// variant pack: 0 is the output, 1 the activation (x or dy), 2 the other operand.
struct Operation {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t convolution, alpha, beta, operands[3];
};

Operation operation_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward:
      return {
          CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
          {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W}};
    case ConvPass::input_grad:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
              {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W}};
    case ConvPass::weight_grad:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
          {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X}};
}

/// Describes a tensor of n images (or filters) of c channels, with channels innermost.
Descriptor tensor(int64_t id, cudnnDataType_t type, int64_t n, int64_t c, int64_t h, int64_t w) {
  constexpr int64_t kAlignment = 16;  // bytes; all pointers that kernels get have this alignment
  Descriptor t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  t.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::array{n, c, h, w});
  t.set(CUDNN_ATTR_TENSOR_STRIDES, std::array{h * w * c, int64_t{1}, w * c, c});
  t.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  t.finish("describing a tensor to cuDNN");
  return t;
}

/// Returns the type of all operands. The weight gradient has this type, too, because no engine
/// reads bf16 and writes a float weight gradient.
cudnnDataType_t element_type(const LibraryProblem& p) {
  return p.precision == Precision::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

Descriptor activation(int64_t id, const LibraryProblem& p, const ActivationShape& shape) {
  return tensor(id, element_type(p), p.batch, shape.channels, shape.height, shape.width);
}

Descriptor weight(int64_t id, const LibraryProblem& p) {
  return tensor(id, element_type(p), p.shape.out.channels, p.shape.in_channels_per_group(),
                p.shape.kernel_h, p.shape.kernel_w);
}

Descriptor operand(int64_t id, const LibraryProblem& p) {
  const bool output = id == 0, input = id == 1;
  switch (p.pass) {
    case ConvPass::forward:
      if (output) return activation(id, p, p.shape.out);
      return input ? activation(id, p, p.shape.in) : weight(id, p);
    case ConvPass::input_grad:
      if (output) return activation(id, p, p.shape.in);
      return input ? activation(id, p, p.shape.out) : weight(id, p);
    case ConvPass::weight_grad:
      break;
  }
  if (output) return weight(id, p);
  return activation(id, p, input ? p.shape.out : p.shape.in);
}

/// Describes the convolution. Sums are always float. The number of groups follows from the tensors'
/// channels.
Descriptor convolution(const Conv2dShape& shape) {
  const std::array padding = {shape.padding, shape.padding};
  const auto mode = CUDNN_CROSS_CORRELATION;
  Descriptor c(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  c.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  c.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  c.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  c.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding);
  c.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding);
  c.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::array{shape.stride, shape.stride});
  c.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::array{int64_t{1}, int64_t{1}});
  c.finish("describing a convolution to cuDNN");
  return c;
}

Descriptor operation_graph(const LibraryProblem& p) {
  const Operation names = operation_of(p.pass);
  Descriptor operation(names.type);
  operation.set(names.convolution, convolution(p.shape));
  operation.set(names.alpha, 1.0f);
  operation.set(names.beta, p.accumulate ? 1.0f : 0.0f);
  for (int64_t id = 0; id < 3; ++id)
    operation.set(names.operands[id], operand(id, p));
  operation.finish("describing a convolution to cuDNN");

  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  graph.finish("describing a convolution to cuDNN");
  return graph;
}

/// Counts why the engines that cuDNN proposed for a problem were refused.
struct Refusals {
  int not_allowed = 0, unfinished = 0, too_large = 0;
  std::string last;  ///< cuDNN's text for its last refusal

  void add(cudnnStatus_t status) { last = describe(status); }
  std::string text() const {
    return fmt::format(
        "of the engines that cuDNN proposes, {} do not compute with the requested precision, {} "
        "cannot be used, and {} need more workspace than there is{}{}",
        not_allowed, unfinished, too_large, last.empty() ? "" : "; ", last);
  }
};

/// Returns the engines that cuDNN proposes in one of its modes, best first.
std::vector<Descriptor> proposals(const Descriptor& graph, const Descriptor& device,
                                  cudnnBackendHeurMode_t mode, Refusals& refusals) {
  constexpr int kMost = 64;
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
  std::vector<Descriptor> configs;
  if (const auto status = heuristic.try_finish(); status != CUDNN_STATUS_SUCCESS) {
    refusals.add(status);
    return configs;
  }
  for (int i = 0; i < kMost; ++i)
    configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  const size_t count = heuristic.read(CUDNN_ATTR_ENGINEHEUR_RESULTS, configs);
  while (configs.size() > count)
    configs.pop_back();
  return configs;
}

/// Returns true if an engine keeps the promises of conv2d.h: the same bits each time, sums in
/// float, and no errors but rounding errors.
bool allowed(const Descriptor& config, Precision precision) {
  std::vector<Descriptor> engine;
  engine.emplace_back(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  config.read(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  return std::ranges::none_of(engine[0].numerical_notes(), [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        return true;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:  // on float operands: TF32
        return precision == Precision::fp32;
      default:
        return false;
    }
  });
}

}  // namespace

Descriptor device_of(cudnnHandle_t handle) {
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.set(CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  device.finish("describing the GPU to cuDNN");
  return device;
}

Descriptor device_from_json(const std::string& json) {
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, std::ssize(json),
             json.data());
  device.finish("describing a GPU to cuDNN");
  return device;
}

// Graphs and plans are given the device instead of a handle, because cuDNN deprecates handles in
// them since it supports plans for described devices. The handle that executes a plan determines
// where it runs.
std::optional<EnginePlan> find_engine(const LibraryProblem& problem, const Descriptor& device,
                                      size_t workspace_limit, std::string& why_not) {
  const Descriptor graph = operation_graph(problem);
  Refusals refusals;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (const Descriptor& config : proposals(graph, device, mode, refusals)) {
      if (!allowed(config, problem.precision)) {
        ++refusals.not_allowed;
        continue;
      }
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
      if (const auto status = plan.try_finish(); status != CUDNN_STATUS_SUCCESS) {
        ++refusals.unfinished;
        refusals.add(status);
        continue;
      }
      const auto bytes =
          static_cast<size_t>(plan.integer(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
      if (bytes <= workspace_limit) return EnginePlan{std::move(plan), bytes};
      ++refusals.too_large;
    }
  }
  why_not = refusals.text();
  return std::nullopt;
}

}  // namespace sculpt::kernels::cudnn
