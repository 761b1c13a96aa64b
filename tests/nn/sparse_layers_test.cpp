// Networks whose layers skip masked weights are compared with the same networks on dense kernels.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "engine/ops/kernel_rule.h"
#include "engine/ops/weighted_node.h"
#include "engine/optim/sgd.h"
#include "engine/sparse/prune.h"
#include "kernels/common/parallel.h"
#include "tests/nn/noise_network.h"
#include "tests/support/comparison.h"

namespace sculpt {
namespace {

using testing::same_bytes;

constexpr int32_t kBatch = 19;

/// A network in training on one batch of noise.
class Training : public testing::NoiseNetwork {
 public:
  explicit Training(const KernelSettings& kernels, const std::string& model = "resnet20",
                    const OptimOptions& options = {}, int32_t batch = kBatch, double width = 0.25,
                    int64_t pixels = 16)
      : NoiseNetwork(model, batch, width, pixels, kernels), sgd_(network_.parameters(), options) {}
  explicit Training(SparseKernels sparse, const std::string& model = "resnet20",
                    const OptimOptions& options = {}, int32_t batch = kBatch, double width = 0.25,
                    int64_t pixels = 16)
      : Training(KernelSettings{.sparse = sparse}, model, options, batch, width, pixels) {}
  /// With kernels that the chooser times.
  Training(kernels::Chooser& chooser, const std::string& model)
      : Training(KernelSettings{.sparse = SparseKernels::tuned, .chooser = &chooser}, model) {}

  /// Runs whole nodes one after the other, as a profile does, and never blocks of images.
  void run_node_by_node(bool on = true) { network_.graph().set_profiling(on); }

  /// Copies the state of `other`, because rounding errors grow from step to step.
  void join(Training& other) {
    const ParameterArena& from = other.dense_parameters();
    ParameterArena& to = dense_parameters();
    std::ranges::copy(from.weights(), to.edit_weights().begin());
    std::ranges::copy(from.momentum(), to.edit_momentum().begin());
    std::ranges::copy(from.state_values(), to.edit_state_values().begin());
  }

  /// |gradient - other's| / |other's|, over unmasked weights.
  double gradient_difference(Training& other) {
    double difference = 0, norm = 0;
    const auto mask = dense_parameters().masks();
    other.dense_parameters();
    for (size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == 0) continue;
      const double a = parameters().gradients()[i], b = other.parameters().gradients()[i];
      difference += (a - b) * (a - b);
      norm += b * b;
    }
    return std::sqrt(difference / norm);
  }

  /// Returns the same network in double, after a forward and a backward pass.
  std::unique_ptr<Network> in_double() {
    auto twin = network_.rebuild(kernels::reference_backend(), batch_);
    load(*twin);
    twin->forward(Mode::train);
    twin->backward();
    return twin;
  }

  /// |gradient - exact one| / |exact one|, over unmasked weights.
  double gradient_error(Network& exact) {
    loss(Mode::train);
    network_.backward();
    double difference = 0, norm = 0;
    const auto mask = dense_parameters().masks();
    for (size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == 0) continue;
      const double g = exact.parameters().gradients<double>()[i];
      difference += (parameters().gradients()[i] - g) * (parameters().gradients()[i] - g);
      norm += g * g;
    }
    return std::sqrt(difference / norm);
  }

  /// Returns the choices of all passes that were measured.
  std::multiset<kernels::Choice> choices() {
    network_.graph().follow_masks();
    const kernels::Choices& made = network_.execution().layers.chooser->made();
    std::multiset<kernels::Choice> choices;
    bool has_input_grad = false;  // the first layer has none
    for (const auto& node : network_.graph().nodes()) {
      const ops::WeightedNode* layer = ops::weighted_node(*node);
      if (layer == nullptr || !layer->pass_kernels() || made.empty()) continue;
      const kernels::PassKernels kernels = *layer->pass_kernels();
      choices.insert({kernels.forward, kernels.weight_grad});
      if (std::exchange(has_input_grad, true)) choices.insert(kernels.input_grad);
    }
    return choices;
  }

  /// Checks that all passes run on the kernels that the rule names; returns how many there are.
  int passes_by_rule() {
    const Replay& replay = network_.graph().replay();
    const ops::Machine machine = ops::this_machine(network_.graph().backend().name);
    int passes = 0;
    for (const auto& node : network_.graph().nodes()) {
      const ops::WeightedNode* weighted = ops::weighted_node(*node);
      if (weighted == nullptr) continue;
      const kernels::PassKernels kernels = weighted->pass_kernels().value();
      const auto check = [&](ops::ConvPass pass, kernels::Choice choice) {
        CHECK(choice == choose_by_rule(weighted->pass_problem(pass), machine));
        ++passes;
      };
      check(ops::ConvPass::forward, kernels.forward);
      check(ops::ConvPass::weight_grad, kernels.weight_grad);
      if (replay.grad(node->inputs[0]) != nullptr)
        check(ops::ConvPass::input_grad, kernels.input_grad);
    }
    return passes;
  }

  bool same_weights(Training& other) {
    return std::ranges::equal(dense_parameters().weights(), other.dense_parameters().weights());
  }

  /// Prunes by magnitude over the whole network and returns the mask.
  std::vector<uint8_t> prune_to(double density) {
    prune({network_, 1, {}, {}, {}}, {"magnitude", "global", density});
    const auto mask = parameters().masks();
    return {mask.begin(), mask.end()};
  }

  void backward() { network_.backward(); }

  int64_t groups_on_blocks() { return network_.graph().groups_on_blocks(); }

  void unmask_every_third_layer() {
    parameters().edit_masks([&](std::span<uint8_t> masks) {
      int layer = 0;
      for (const Parameter& p : parameters().parameters())
        if (p.prunable && layer++ % 3 == 0)
          std::ranges::fill(ParameterArena::slice(masks, p), uint8_t{1});
    });
  }

  /// Returns the loss of the batch in this mode.
  double loss(Mode mode) {
    load(network_);
    return network_.forward(mode).loss;
  }

  /// Runs a step and returns the loss before it. If `expanding` is true, all arenas become dense
  /// before each of the three parts of the step.
  double step(double lr = 0.02, bool expanding = false) {
    const auto expand = [&] {
      if (expanding) parameters().store_dense();
    };
    expand();
    const double before = loss(Mode::train);
    expand();
    network_.backward();
    expand();
    sgd_.step(lr);
    return before;
  }

 private:
  Sgd sgd_;
};

TEST_CASE("sparse layers: losses and gradients of dense kernels, through changes of the masks") {
  for (const std::string model : {"resnet20", "mobilenet_v1", "lenet"}) {
    CAPTURE(model);
    Training sparse(SparseKernels::on, model), automatic(SparseKernels::automatic, model),
        dense(SparseKernels::off, model);
    uint64_t seed = 0;
    // A depthwise channel has few weights: with fewer of them kept, channels that stay constant
    // leave nothing but rounding errors of gradients.
    const double few = model == "resnet20" ? 0.1 : 0.35;
    // Some weights, fewer, other ones, all again.
    for (const double density : {0.45, few, few, 1.0}) {
      CAPTURE(density);
      ++seed;
      for (Training* training : {&sparse, &automatic, &dense})
        training->mask(density, seed);
      for (int step = 0; step < 3; ++step) {
        for (Training* training : {&sparse, &automatic})
          training->join(dense);
        const double loss = dense.step();
        for (Training* training : {&sparse, &automatic}) {
          CHECK(training->step() == doctest::Approx(loss).epsilon(1e-5));
          CHECK(training->gradient_difference(dense) < 1e-3);
        }
      }
    }
  }
}

// Training changes the weights first, because gradients are then more sensitive than at the start.
TEST_CASE("sparse layers: gradients are as near to sums in double as those of dense kernels") {
  Training dense(SparseKernels::off), sparse(SparseKernels::on);
  for (Training* training : {&dense, &sparse})
    training->mask(0.5, 3);
  for (int state = 0; state < 4; ++state) {
    CAPTURE(state);
    for (int step = 0; step < 6; ++step)
      dense.step(0.05);
    sparse.join(dense);
    const auto exact = dense.in_double();
    const double of_dense = dense.gradient_error(*exact);
    CHECK(sparse.gradient_error(*exact) < 1.5 * of_dense + 1e-6);
  }
}

// Biases of 1 in batch norm keep most activations away from the kink of ReLU, and the learning rate
// is small. Training is chaotic otherwise: with dense kernels alone, losses differ by percents
// within these steps if all weights move by one rounding error.
TEST_CASE("sparse layers: losses of 100 steps, and then the same masks") {
  for (const std::string model : {"resnet20", "lenet"}) {
    CAPTURE(model);
    Training sparse(SparseKernels::on, model), dense(SparseKernels::off, model);
    for (Training* training : {&sparse, &dense}) {
      for (const Parameter& p : training->parameters().parameters())
        if (p.kind == ParameterKind::norm_bias)
          std::ranges::fill(ParameterArena::slice(training->parameters().edit_weights(), p), 1.0f);
      training->mask(0.1, 3);
    }
    for (int step = 0; step < 100; ++step)
      REQUIRE(sparse.step(0.001) == doctest::Approx(dense.step(0.001)).epsilon(1e-5));
    CHECK(sparse.prune_to(0.05) == dense.prune_to(0.05));
  }
}

/// Sets the number of threads for a scope.
struct ThreadCount {
  explicit ThreadCount(int count) : before(thread_count()) { set_thread_count(count); }
  ~ThreadCount() { set_thread_count(before); }
  int before;
};

void check_same_bits(Training& a, Training& b) {
  CHECK(std::ranges::equal(a.dense_parameters().gradients(), b.dense_parameters().gradients()));
  CHECK(std::ranges::equal(a.parameters().state_values(), b.parameters().state_values()));
}

constexpr int32_t kFourBlocks = 55;  // the last one is short

struct Model {
  std::string name;
  double width;
  int64_t pixels;
};

Training on_blocks(const Model& model) {
  return Training(SparseKernels::on, model.name, {}, kFourBlocks, model.width, model.pixels);
}
// Activations of 32 x 32 pixels are large enough to be copied to memory past the cache, and to run
// in several rounds of rows.
const Model kModels[] = {{"resnet20", 0.25, 16},
                         {"resnet20", 0.5, 32},
                         {"resnet50", 0.125, 16},
                         {"mobilenet_v1", 0.25, 16},
                         {"vgg11_bn", 0.25, 32}};

TEST_CASE("sparse layers: blocks of images that go through several layers give the same bits") {
  for (const Model& model : kModels)
    // There are too few blocks for 3 threads. Sums over 1 or 2 threads are those of whole batches.
    for (const int count : {1, 2, 3}) {
      CAPTURE(model.name);
      CAPTURE(model.width);
      CAPTURE(count);
      if (count != 2 && model.pixels > 16) continue;  // which takes long
      const ThreadCount threads(count);
      Training blocks = on_blocks(model), nodes = on_blocks(model);
      nodes.run_node_by_node();
      for (Training* training : {&blocks, &nodes})
        training->mask(0.2, 8);
      for (int step = 0; step < 2; ++step) {
        CHECK(blocks.step() == nodes.step());
        check_same_bits(blocks, nodes);
        CHECK(blocks.loss(Mode::eval) == nodes.loss(Mode::eval));
      }
      CHECK((blocks.groups_on_blocks() > 0) == (count < 3));
      CHECK(nodes.groups_on_blocks() == 0);
    }
}

TEST_CASE("sparse layers: one pass may run on blocks and the other one not") {
  const ThreadCount threads(2);
  for (const bool forward_on_blocks : {true, false}) {
    CAPTURE(forward_on_blocks);
    Training mixed = on_blocks(kModels[1]), nodes = on_blocks(kModels[1]);
    nodes.run_node_by_node();
    for (Training* training : {&mixed, &nodes})
      training->mask(0.2, 8);
    mixed.run_node_by_node(!forward_on_blocks);
    CHECK(mixed.loss(Mode::train) == nodes.loss(Mode::train));
    mixed.run_node_by_node(forward_on_blocks);
    mixed.backward();
    nodes.backward();
    check_same_bits(mixed, nodes);
    CHECK(mixed.groups_on_blocks() > 0);
  }
}

TEST_CASE("sparse layers: on blocks, masks may change between the passes, and some be dense") {
  const ThreadCount threads(2);
  for (const Model& model : {kModels[0], kModels[1]}) {
    Training blocks = on_blocks(model), nodes = on_blocks(model);
    nodes.run_node_by_node();
    for (Training* training : {&blocks, &nodes}) {
      training->mask(0.2, 8);
      training->step();
      training->mask(0.3, 9);
      training->unmask_every_third_layer();
      training->loss(Mode::train);
      training->mask(0.1, 10);
      training->backward();
    }
    check_same_bits(blocks, nodes);
    CHECK(blocks.step() == nodes.step());
    CHECK(blocks.groups_on_blocks() > 0);
  }
}

TEST_CASE("sparse layers: more threads than before") {
  const ThreadCount one(1);
  Training grown = on_blocks(kModels[1]);
  grown.mask(0.01, 8);
  grown.step();
  set_thread_count(2);
  Training nodes = on_blocks(kModels[1]);
  nodes.run_node_by_node();
  nodes.mask(0.01, 8);
  nodes.step();
  nodes.join(grown);
  CHECK(grown.step() == nodes.step());
  check_same_bits(grown, nodes);
}

TEST_CASE("sparse layers: masked weights stay exactly zero") {
  Training training(SparseKernels::on);
  training.mask(0.1, 9);
  for (int step = 0; step < 3; ++step)
    training.step();
  ParameterArena& arena = training.dense_parameters();
  for (int64_t i = 0; i < arena.count(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (arena.masks()[at] != 0) continue;
    REQUIRE(arena.weights()[at] == 0);
    REQUIRE(!std::signbit(arena.weights()[at]));
    REQUIRE(arena.momentum()[at] == 0);
    REQUIRE(!std::signbit(arena.momentum()[at]));
  }
}

TEST_CASE("sparse layers: compact storage changes no bit, through changes of the masks") {
  OptimOptions options;
  options.nesterov = true;
  options.weight_decay = 0.01;
  options.decay_norm_and_bias = false;
  Training compact(SparseKernels::automatic, "resnet20", options);
  Training dense(SparseKernels::automatic, "resnet20", options);
  uint64_t seed = 40;
  // Too many for sparse kernels in some passes, fewer weights, more again (a rewind), all, some.
  for (const double density : {0.45, 0.02, 0.3, 1.0, 0.1}) {
    CAPTURE(density);
    ++seed;
    for (Training* training : {&compact, &dense})
      training->mask(density, seed);
    for (int step = 0; step < 2; ++step)
      REQUIRE(compact.step() == dense.step(0.02, true));
    if (density != 0.45) CHECK(compact.parameters().layout()->dense() == (density == 1));
    CHECK(compact.loss(Mode::eval) == dense.loss(Mode::eval));
    CHECK(same_bytes(compact.dense_parameters().weights(), dense.dense_parameters().weights()));
    CHECK(same_bytes(compact.parameters().momentum(), dense.parameters().momentum()));
  }
}

TEST_CASE("sparse layers: memory of parameters falls with density and stays so in evaluation") {
  Training training(SparseKernels::on);
  training.step();
  ParameterArena& arena = training.parameters();
  const auto values = [&] {  // bytes of the arenas that are floats; a mask is a byte
    return static_cast<double>(arena.layout()->count()) * 12;
  };
  const auto all = static_cast<double>(arena.count()) * 12;
  CHECK(values() == all);
  const auto masks = static_cast<double>(arena.count());
  CHECK(static_cast<double>(arena.bytes()) > all + masks);
  for (const double density : {0.3, 0.1, 0.02}) {
    CAPTURE(density);
    training.mask(density, 3);
    training.step();
    // Batch norm and the classifier are stored whole.
    CHECK(values() < (density + 0.05) * all);
    const size_t bytes = arena.bytes();
    CHECK(static_cast<double>(bytes) < values() + 1.5 * masks + 8192);
    training.loss(Mode::eval);
    CHECK(arena.bytes() == bytes);
    arena.kept_count();
    training.step();
    CHECK(arena.bytes() == bytes);
  }
}

TEST_CASE("sparse layers: kernels of one kind give the same bits again") {
  for (const SparseKernels kind : {SparseKernels::on, SparseKernels::automatic}) {
    Training a(kind), b(kind);
    for (Training* training : {&a, &b})
      training->mask(0.3, 4);
    for (int step = 0; step < 3; ++step)
      CHECK(a.step() == b.step());
  }
}

TEST_CASE("sparse layers: each pass runs on the kernels that were measured to be faster") {
  kernels::Chooser chooser(kernels::ChoiceFile({}, "m", [](const std::string&) {}));
  Training measured(chooser, "lenet"), again(chooser, "lenet"), dense(SparseKernels::off, "lenet");
  CHECK(measured.choices() == std::multiset<kernels::Choice>{});
  for (Training* training : {&measured, &again, &dense})
    training->mask(0.2, 4);
  const auto choices = measured.choices();
  // Two convolutions, the first without an input gradient, and three linear layers.
  CHECK(choices.size() == 14);
  std::multiset<kernels::Choice> made;
  for (const auto& [problem, choice] : chooser.made()) {
    CAPTURE(problem);
    CHECK(problem.find(" % kept") != std::string::npos);
    made.insert(choice);
  }
  CHECK(choices == made);
  // A known choice is not measured again, so the kernels and the bits are the same.
  CHECK(again.choices() == choices);
  for (int step = 0; step < 3; ++step) {
    const double loss = dense.step();
    CHECK(measured.step() == doctest::Approx(loss).epsilon(1e-4));
    CHECK(again.step() == doctest::Approx(loss).epsilon(1e-4));
    CHECK(measured.same_weights(again));
  }
}

TEST_CASE("sparse layers: choices of a resumed run are made again") {
  kernels::Chooser first(kernels::ChoiceFile({}, "m", [](const std::string&) {}));
  Training training(first, "lenet");
  training.mask(0.2, 4);
  training.choices();
  kernels::Choices other = first.made();  // not what a measurement gives: they differ throughout
  for (auto& [problem, choice] : other)
    choice = choice == kernels::Choice::sparse ? kernels::Choice::native : kernels::Choice::sparse;
  kernels::Chooser second(kernels::ChoiceFile({}, "m", [](const std::string&) {}));
  second.recall(other);
  Training resumed(second, "lenet");
  resumed.mask(0.2, 4);
  const auto sparse = [](const auto& choices) { return choices.count(kernels::Choice::sparse); };
  CHECK(sparse(training.choices()) + sparse(resumed.choices()) == 14);
  CHECK(second.made() == other);
}

TEST_CASE("sparse layers: by the rule, no choice is timed or recalled") {
  kernels::Chooser chooser(kernels::ChoiceFile({}, "m", [](const std::string&) {}));
  Training ruled(KernelSettings{.chooser = &chooser}), other(SparseKernels::automatic);
  for (Training* training : {&ruled, &other})
    training->mask(0.2, 4);
  ruled.choices();
  CHECK(chooser.made().empty());
  CHECK(ruled.passes_by_rule() > 40);
  for (int step = 0; step < 2; ++step)
    CHECK(ruled.step() == other.step());
  CHECK(ruled.same_weights(other));
}

}  // namespace
}  // namespace sculpt
