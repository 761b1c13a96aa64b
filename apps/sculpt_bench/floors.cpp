#include "apps/sculpt_bench/floors.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>

#include "apps/sculpt_bench/node_cost.h"
#include "models/registry.h"

namespace sculpt::bench {
namespace {

// A convolution of kernels/cuda leaves a sum and a sum of squares in double per channel and tile; a
// tile usually has rows of 128 pixels. Convolutions with groups narrower than kNarrowGroup run
// without matrix multiplication and leave no sums.
constexpr double kSumBytes = 16.0 / 128;
constexpr int64_t kNarrowGroup = 8;

bool is_narrow(const Graph& graph, const Node& convolution) {
  const int64_t ins = graph.shape(convolution.inputs[0]).channels;
  const auto& weight = graph.parameters()[convolution.info.weight].shape;
  const int64_t groups = ins / weight[1];
  return groups > 1 && std::min(weight[1], weight[0] / groups) < kNarrowGroup;
}

/// Returns true if a convolution on a GPU leaves sums beside v.
bool has_sums(const Graph& graph, Value v) {
  const auto makes = [&](const auto& node) {
    return node->output == v && node->info.op == "conv2d" && !is_narrow(graph, *node);
  };
  const auto takes = [&](const auto& node) {
    return node->info.op == "batch_norm" && node->inputs[0] == v;
  };
  return std::ranges::any_of(graph.nodes(), makes) && std::ranges::any_of(graph.nodes(), takes);
}

std::string text_of(const kernels::ActivationShape& shape) {
  return fmt::format("{}x{}x{}", shape.channels, shape.height, shape.width);
}

class Rows {
 public:
  Rows(const Graph& graph, int64_t batch, const Storage& storage)
      : graph_(graph), batch_(batch), storage_(storage) {}

  void add(const Node& node, const char* pass, const Cost& cost) {
    if (cost.bytes == 0) return;
    std::string shape = text_of(graph_.shape(node.inputs[0]));
    if (node.output.index >= 0) shape += " -> " + text_of(graph_.shape(node.output));
    text_ += fmt::format(
        "{}{{\"pass\": \"{}, {}\", \"shape\": \"{}\", \"bytes\": {:.0f}, \"flops\": {:.0f}}}",
        text_.empty() ? "" : ",\n ", node.info.op, pass, shape, cost.bytes, cost.flops);
  }
  void add_forward(const Node& node) {
    add(node, "forward", forward_cost(graph_, node, batch_, storage_));
  }
  void add_backward(const Node& node) {
    if (node.info.macs == 0)
      return add(node, "backward", backward_cost(graph_, node, batch_, storage_));
    add(node, "input gradient", input_grad_cost(graph_, node, batch_, storage_));
    add(node, "weight gradient", weight_grad_cost(graph_, node, batch_, storage_));
  }
  const std::string& text() const { return text_; }

 private:
  const Graph& graph_;
  int64_t batch_;
  Storage storage_;
  std::string text_;
};

}  // namespace

Storage gpu_storage(const std::string& precision) {
  return {precision == "bf16" ? 2.0 : 4.0, kSumBytes, has_sums};
}

void print_floors(const StepOptions& options) {
  // One image is enough to record a step, because the cost of activations is computed for
  // options.batch images.
  const Network network(network_spec(options), kernels::cpu_backend(), 1);
  const Graph& graph = network.graph();
  const Storage storage = gpu_storage(options.execution.precision);
  Rows rows(graph, options.batch, storage);
  for (const auto& node : graph.nodes())
    rows.add_forward(*node);
  for (auto node = graph.nodes().rbegin(); node != graph.nodes().rend(); ++node)
    rows.add_backward(**node);
  fmt::print("{{\"weights\": {}, \"rows\": [\n {}]}}\n", graph.parameters().count(), rows.text());
}

}  // namespace sculpt::bench
