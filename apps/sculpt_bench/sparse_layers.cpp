#include "apps/sculpt_bench/sparse_layers.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>

#include "apps/sculpt_bench/comparison.h"
#include "engine/core/error.h"
#include "engine/ops/ops.h"

namespace sculpt::bench {

namespace {

constexpr std::array kPasses = {"forward", "input gradient", "weight gradient"};

/// Holds the weight of a convolution. The activations that it works on are those of the network.
class Layer {
 public:
  Layer(Graph& graph, const Node& node, const kernels::Conv2dShape& shape)
      : graph_(graph),
        node_(node),
        shape_(shape),
        sparse_(shape, graph.parameters().pattern()->bytes(node.info.weight)),
        weight_(bytes(), "a weight"),
        gradient_(bytes(), "a weight"),
        workspace_(graph.backend().sparse_conv2d.workspace_bytes(sparse_), "a workspace"),
        launch_{graph.max_batch(), graph.backend().stream} {
    graph.parameters().store_dense();
    const auto values =
        ParameterArena::slice(graph.parameters().weights(), graph.parameters()[node.info.weight]);
    std::ranges::copy(values, weight_.as<float>());
  }

  double density() const {
    return static_cast<double>(sparse_.kept()) / static_cast<double>(shape_.weight_count());
  }
  bool has_input_grad() const { return dx() != nullptr; }

  void dense(size_t pass) {
    const auto& kernels = graph_.backend().conv2d;
    void* const workspace = graph_.replay().workspace();
    if (pass == 0)
      kernels.forward(forward_arguments(workspace), shape_);
    else if (pass == 1)
      kernels.input_grad(input_grad_arguments(workspace), shape_);
    else
      kernels.weight_grad(weight_grad_arguments(workspace), shape_);
  }

  void sparse(size_t pass) {
    const auto& kernels = graph_.backend().sparse_conv2d;
    void* const workspace = workspace_.data();
    if (pass == 0)
      kernels.forward(forward_arguments(workspace), sparse_);
    else if (pass == 1)
      kernels.input_grad(input_grad_arguments(workspace), sparse_);
    else
      kernels.weight_grad(weight_grad_arguments(workspace), sparse_);
  }

 private:
  kernels::ConvForward forward_arguments(void* workspace) const {
    return {
        .y = y(), .x = x(), .weight = weight_.data(), .workspace = workspace, .launch = launch_};
  }
  kernels::ConvInputGrad input_grad_arguments(void* workspace) const {
    return {.dx = dx(),
            .dy = dy(),
            .weight = weight_.data(),
            .workspace = workspace,
            .launch = launch_};
  }
  kernels::ConvWeightGrad weight_grad_arguments(void* workspace) {
    return {.dweight = gradient_.data(),
            .dy = dy(),
            .x = x(),
            .workspace = workspace,
            .launch = launch_};
  }
  size_t bytes() const {
    return static_cast<size_t>(shape_.weight_count()) * graph_.parameters().element_bytes();
  }
  void* x() const { return graph_.replay().data(node_.inputs[0]); }
  void* y() const { return graph_.replay().data(node_.output); }
  void* dx() const { return graph_.replay().grad(node_.inputs[0]); }
  void* dy() const { return graph_.replay().grad(node_.output); }

  Graph& graph_;
  const Node& node_;
  kernels::Conv2dShape shape_;
  kernels::SparsePattern sparse_;
  Buffer weight_, gradient_, workspace_;
  kernels::Launch launch_;
};

std::string cell(const Timed& timed) {
  return fmt::format(" {:.3f} | {:.3f} | {:.2f} |", 1e3 * timed.usual_seconds(),
                     1e3 * timed.other_seconds(), median(timed.ratios()));
}

struct Sum {
  double dense = 0, sparse = 0;
};

void print_header() {
  fmt::print("| layer | weights kept |");
  for (const char* pass : kPasses)
    fmt::print(" {}: direct, ms | sparse, ms | ratio |", pass);
  fmt::print("\n|---|---|---|---|---|---|---|---|---|---|---|\n");
}

void print_layer(const std::string& name, Layer& layer, int rounds, double least_seconds,
                 std::array<Sum, kPasses.size()>& sums) {
  fmt::print("| {} | {:.2f} % |", name, 100 * layer.density());
  for (size_t pass = 0; pass < kPasses.size(); ++pass) {
    if (pass == 1 && !layer.has_input_grad()) {
      fmt::print(" - | - | - |");
      continue;
    }
    const Timed timed =
        compare([&] { layer.dense(pass); }, [&] { layer.sparse(pass); }, rounds, least_seconds);
    fmt::print("{}", cell(timed));
    sums[pass].dense += timed.usual_seconds();
    sums[pass].sparse += timed.other_seconds();
  }
  fmt::print("\n");
}

}  // namespace

void print_sparse_layers(Network& network, int rounds, double least_seconds) {
  Graph& graph = network.graph();
  if (graph.backend().sparse_conv2d.forward == nullptr)
    fail("--layers: the backend {} has no kernels that skip masked weights", graph.backend().name);
  print_header();
  std::array<Sum, kPasses.size()> sums;
  for (const auto& node : graph.nodes()) {
    const kernels::Conv2dShape* shape = ops::conv2d_shape(*node);
    if (shape == nullptr) continue;
    Layer layer(graph, *node, *shape);
    if (layer.density() < 1) print_layer(node->info.name, layer, rounds, least_seconds, sums);
    std::fflush(stdout);
  }
  fmt::print("| all | |");
  for (const Sum& sum : sums)
    fmt::print(" {:.3f} | {:.3f} | {:.2f} |", 1e3 * sum.dense, 1e3 * sum.sparse,
               sum.dense / sum.sparse);
  fmt::print("\n\n");
}

}  // namespace sculpt::bench
