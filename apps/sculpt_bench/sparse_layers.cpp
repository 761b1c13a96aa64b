#include "apps/sculpt_bench/sparse_layers.h"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <string>

#include "apps/sculpt_bench/comparison.h"
#include "apps/sculpt_bench/pass_titles.h"
#include "engine/core/error.h"
#include "engine/ops/ops.h"

namespace sculpt::bench {

namespace {

using kernels::ConvPass;

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
  bool has(ConvPass pass) const { return pass != ConvPass::input_grad || dx() != nullptr; }
  /// The cost of any pass: the FLOPs of kept weights, and the bytes of input and output.
  Cost cost() const {
    return weight_grad_cost(graph_, node_, graph_.max_batch(), storage_of(graph_));
  }
  /// Returns true if Winograd's algorithm computes the passes of a dense step, unless it is off.
  bool by_winograd() const {
    const auto& winograd = graph_.backend().winograd;
    return winograd.forward != nullptr && winograd.pays(shape_, graph_.max_batch());
  }

  void direct(ConvPass pass) {
    run(graph_.backend().conv2d, pass, shape_, graph_.replay().workspace());
  }
  void winograd(ConvPass pass) {
    run(graph_.backend().winograd, pass, shape_, graph_.replay().workspace());
  }
  void sparse(ConvPass pass) {
    run(graph_.backend().sparse_conv2d, pass, sparse_, workspace_.data());
  }

 private:
  template <class Kernels, class Shape>
  void run(const Kernels& kernels, ConvPass pass, const Shape& shape, void* workspace) {
    switch (pass) {
      case ConvPass::forward:
        return kernels.forward(forward_arguments(workspace), shape);
      case ConvPass::input_grad:
        return kernels.input_grad(input_grad_arguments(workspace), shape);
      case ConvPass::weight_grad:
        return kernels.weight_grad(weight_grad_arguments(workspace), shape);
    }
  }
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

/// The sums of a pass over the layers.
struct Sum {
  double direct = 0, dense = 0, sparse = 0;  ///< seconds; dense: on the kernels of a dense step
  Cost cost;
  bool winograd = false;  ///< true if Winograd's algorithm computes the pass of a layer
};

void print_header() {
  fmt::print(
      "The columns \"/ peak\" say which share of the machine's peak the multiply-adds of kept "
      "weights reach in that time, and floor / time is that of the sparse kernel. Winograd: the "
      "dense kernel of a step, where it is not the direct one. Ratio: the dense kernel of a step "
      "against the sparse one. Under Winograd, the rows of all layers have the time of all dense "
      "kernels of a step.\n\n"
      "| layer | pass | weights kept | direct, ms | Winograd, ms | sparse, ms | ratio | direct / "
      "peak | sparse / peak | floor / time |\n|---|---|---|---|---|---|---|---|---|---|\n");
}

void print_row(const std::string& layer, ConvPass pass, const std::string& kept, const Sum& times,
               double ratio, const MachineRates& rates) {
  const Floor floor = floor_of(times.cost, rates);
  fmt::print("| {} | {} | {} | {:.3f} | {} | {:.3f} | {:.2f} | {:.3g} % | {:.3g} % | {:.3g} |\n",
             layer, title_of(pass), kept, 1e3 * times.direct,
             times.winograd ? fmt::format("{:.3f}", 1e3 * times.dense) : "-", 1e3 * times.sparse,
             ratio, 100 * floor.arithmetic_seconds / times.direct,
             100 * floor.arithmetic_seconds / times.sparse, floor.seconds() / times.sparse);
}

void print_pass(const std::string& name, Layer& layer, ConvPass pass,
                const SparseLayerOptions& options, Sum& sum) {
  const auto against_sparse = [&](const std::function<void()>& dense) {
    dense();  // this call warms up
    return compare(
        dense, [&] { layer.sparse(pass); }, options.rounds, options.least_seconds);
  };
  Timed timed = against_sparse([&] { layer.direct(pass); });
  Sum times{.direct = timed.usual_seconds(), .cost = layer.cost()};
  times.winograd = options.winograd && layer.by_winograd();
  if (times.winograd) timed = against_sparse([&] { layer.winograd(pass); });
  times.dense = timed.usual_seconds();
  times.sparse = timed.other_seconds();
  print_row(name, pass, fmt::format("{:.2f} %", 100 * layer.density()), times,
            median(timed.ratios()), options.rates);
  sum.direct += times.direct;
  sum.dense += times.dense;
  sum.sparse += times.sparse;
  sum.cost = sum.cost + times.cost;
  sum.winograd |= times.winograd;
}

}  // namespace

void print_sparse_layers(Network& network, const SparseLayerOptions& options) {
  Graph& graph = network.graph();
  if (graph.backend().sparse_conv2d.forward == nullptr)
    fail("--layers: the backend {} has no kernels that skip masked weights", graph.backend().name);
  print_header();
  std::map<ConvPass, Sum> sums;
  for (const auto& node : graph.nodes()) {
    const kernels::Conv2dShape* shape = ops::conv2d_shape(*node);
    if (shape == nullptr) continue;
    Layer layer(graph, *node, *shape);
    if (layer.density() == 1) continue;
    for (const ConvPass pass : kernels::kConvPasses)
      if (layer.has(pass)) print_pass(node->info.name, layer, pass, options, sums[pass]);
    std::fflush(stdout);
  }
  for (const auto& [pass, sum] : sums)
    print_row("all", pass, "", sum, sum.dense / sum.sparse, options.rates);
  fmt::print("\n");
}

}  // namespace sculpt::bench
