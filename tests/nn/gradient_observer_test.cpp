// The event "the gradient of a parameter is final", seen through Graph::observe_gradients() only.
#include <algorithm>
#include <doctest/doctest.h>
#include <numeric>

#include "tests/nn/noise_network.h"

namespace sculpt {
namespace {

/// A network whose backward pass is observed.
class Observed : public testing::NoiseNetwork {
 public:
  Observed(const std::string& model, double density, bool node_by_node)
      : NoiseNetwork(model, 32, 0.25, 32, {.sparse = SparseKernels::on}) {
    Graph& graph = network_.graph();
    graph.set_profiling(node_by_node);
    if (density < 1) mask(density, 7);
    graph.observe_gradients([this](ParameterId id) {
      order_.push_back(id);
      at_event_.push_back(values_of(id));
    });
  }

  /// Returns the parameters in the order of their events, and checks that no gradient changed
  /// after its event.
  std::vector<ParameterId> backward(Mode mode) {
    order_.clear();
    at_event_.clear();
    load(network_);
    network_.forward(mode);
    network_.backward();
    for (size_t i = 0; i < order_.size(); ++i) {
      CAPTURE(parameters()[order_[i]].name);
      CHECK(at_event_[i] == values_of(order_[i]));
      CHECK(std::ranges::any_of(at_event_[i], [](float x) { return x != 0; }));
    }
    return order_;
  }

  int64_t groups_on_blocks() const { return network_.graph().groups_on_blocks(); }
  void stop_observing() { network_.graph().observe_gradients({}); }

 private:
  /// The gradient as it is stored now: whole, or of kept weights only.
  std::vector<float> values_of(ParameterId id) {
    const auto* first = static_cast<const float*>(parameters().edit_gradient(id));
    return {first, first + (*parameters().layout())[static_cast<size_t>(id)].count};
  }

  std::vector<ParameterId> order_;
  std::vector<std::vector<float>> at_event_;
};

std::vector<ParameterId> sorted(std::vector<ParameterId> ids) {
  std::ranges::sort(ids);
  return ids;
}

TEST_CASE(
    "gradient observer: every parameter once, in the same order each time, when it is final") {
  for (const char* model : {"resnet20", "mobilenet_v1", "lenet"})
    for (const double density : {1.0, 0.2}) {
      CAPTURE(model);
      CAPTURE(density);
      Observed nodes(model, density, true), blocks(model, density, false);
      std::vector<ParameterId> all(nodes.parameters().parameters().size());
      std::iota(all.begin(), all.end(), 0);
      const std::vector<ParameterId> order = nodes.backward(Mode::train);
      CHECK(sorted(order) == all);
      CHECK(nodes.backward(Mode::train) == order);
      CHECK(blocks.backward(Mode::train) == order);
      CHECK(blocks.backward(Mode::train) == order);
      CHECK(nodes.groups_on_blocks() == 0);
      // The last layer comes first, and the first layer last.
      CHECK(order.front() > order.back());
    }
}

TEST_CASE("gradient observer: groups of nodes that run on blocks report, too") {
  Observed blocks("resnet20", 0.2, false);
  blocks.backward(Mode::train);
  CHECK(blocks.groups_on_blocks() > 0);
}

TEST_CASE("gradient observer: a frozen pass reports, and an empty observer hears nothing") {
  Observed network("resnet20", 1, false);
  CHECK(network.backward(Mode::frozen).size() == network.parameters().parameters().size());
  network.stop_observing();
  CHECK(network.backward(Mode::train).empty());
}

}  // namespace
}  // namespace sculpt
