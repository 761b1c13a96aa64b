// A ResNet whose convolutions on small planes compute their passes together with the batch norms
// before and behind them, against the same network on separate passes.

#include <doctest/doctest.h>
#include <memory>
#include <span>
#include <utility>

#if defined(SCULPT_CUDA_ON_HOST)
#include <cuda_runtime.h>
#endif

#include "tests/nn/noise_network.h"
#include "tests/support/comparison.h"
#include "tests/support/needs.h"
#include "tests/support/tested_backends.h"

namespace sculpt {
namespace {

constexpr int32_t kBatch = 5;
constexpr int64_t kPixels = 8;  // of a side; the planes of the last layers have 2 x 2

const kernels::Backend& joint_backend() {
  return *test::tested_backends().front();
}
/// The same backend without joint passes.
const kernels::Backend& separate_backend() {
  static const kernels::Backend backend = [] {
    kernels::Backend copy = joint_backend();
    copy.conv_norm = {};
    return copy;
  }();
  return backend;
}

/// A network whose layers have 16, 32 and 64 channels, on one batch of noise.
class Training : public testing::NoiseNetwork {
 public:
  explicit Training(const kernels::Backend& backend)
      : NoiseNetwork("resnet20", kBatch, 1.0, kPixels, {}, backend) {}

  /// Returns the mean loss. The gradients stay in the arena.
  double run(Mode mode = Mode::train) {
    load(network_);
    const double loss = network_.forward(mode).loss / kBatch;
    network_.backward();
    return loss;
  }
  /// Returns the gradients of a step in two parts.
  std::vector<float> gradients_in_parts(const kernels::Backend& backend) {
    const std::unique_ptr<Network> small = network_.rebuild(backend, (kBatch + 1) / 2);
    for (int index = 0; index < 2; ++index) {
      load(*small, {index, 2});
      small->forward(Mode::train);
      small->backward();
    }
    small->parameters().store_dense();
    const auto gradients = small->parameters().gradients();
    return {gradients.begin(), gradients.end()};
  }
  /// Returns the logits with running statistics.
  std::vector<float> evaluate() {
    load(network_);
    network_.forward(Mode::eval);
    return network_.logits();
  }
  /// Trains as run() does in a batch that this process shares with others, which have no images.
  void run_shared(const kernels::SharedBatch& shared) {
    load(network_);
    network_.begin_step(0);
    network_.graph().forward(Mode::train, {.images = kBatch, .shared = &shared});
    network_.graph().backward();
  }
  Network& network() { return network_; }
  std::vector<float> gradients() {
    const auto gradients = dense_parameters().gradients();
    return {gradients.begin(), gradients.end()};
  }
};

/// Returns the elements of a parameter.
std::span<const float> of(const Parameter& p, const std::vector<float>& values) {
  return std::span(values).subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.count));
}

/// Checks gradients against those of separate passes.
void check_gradients(std::span<const Parameter> parameters, const std::vector<float>& actual,
                     const std::vector<float>& expected) {
  for (const Parameter& p : parameters) {
    CAPTURE(p.name);
    CHECK(testing::relative_error(of(p, actual), of(p, expected)) < 1e-3);
  }
}

void check_gradients(Training& joint, Training& separate) {
  check_gradients(separate.parameters().parameters(), joint.gradients(), separate.gradients());
}

#if defined(SCULPT_CUDA_ON_HOST)
/// Counts the launches of a kernel in a training step.
size_t launches(const char* kernel, Training& training) {
  const size_t before = cuda_on_host::launches_of(kernel);
  training.run();
  return cuda_on_host::launches_of(kernel) - before;
}
#endif

}  // namespace

TEST_CASE("joint passes: gradients of separate passes" * test::needs_joint_passes()) {
  Training joint(joint_backend()), separate(separate_backend());
  CHECK(joint.run() == separate.run());
  check_gradients(joint, separate);
}

TEST_CASE("joint passes: evaluation" * test::needs_joint_passes()) {
  Training joint(joint_backend()), separate(separate_backend());
  joint.run();
  separate.run();
  CHECK(joint.evaluate() == separate.evaluate());
  int outputs = 0;
  for (const auto& node : joint.network().graph().nodes())
    outputs += joint.network().graph().replay().deferred_data(node->inputs[0]) != nullptr ? 1 : 0;
  CHECK(outputs == 9);
}

TEST_CASE("joint passes: the same bits again" * test::needs_joint_passes()) {
  Training a(joint_backend()), b(joint_backend());
  CHECK(a.run() == b.run());
  CHECK(a.gradients() == b.gradients());
  const std::vector<float> first = a.gradients();
  a.run();
  CHECK(a.gradients() == b.gradients());
}

TEST_CASE("joint passes: gradients with running statistics" * test::needs_joint_passes()) {
  Training joint(joint_backend()), separate(separate_backend());
  // A step in training mode leaves running statistics, and sums that must not be used again.
  joint.run();
  separate.run();
  joint.run(Mode::frozen);
  separate.run(Mode::frozen);
  check_gradients(joint, separate);
}

// The sums of earlier parts are added to the gradients of batch norm's parameters in the last part,
// after the convolutions have read those of the part.
TEST_CASE("joint passes: a step in parts" * test::needs_joint_passes()) {
  Training training(joint_backend());
  const auto joint = training.gradients_in_parts(joint_backend());
  const auto separate = training.gradients_in_parts(separate_backend());
  check_gradients(training.parameters().parameters(), joint, separate);
}

TEST_CASE("joint passes: held patterns" * test::needs_joint_passes()) {
  Training joint(joint_backend()), separate(separate_backend());
  for (Training* training : {&joint, &separate}) {
    Graph& graph = training->network().graph();
    graph.record_patterns();
    training->run();
    graph.hold_patterns();
    training->network().initialise(6);
    training->run();
  }
  check_gradients(joint, separate);
}

TEST_CASE("joint passes: a process that leaves the totals of a shared batch to another one" *
          test::needs_joint_passes()) {
  kernels::SharedBatch shared = {.add_up = [](void*, double*, int64_t, void*) {}, .images = kBatch};
  Training keeps(joint_backend()), leaves(joint_backend());
  keeps.run_shared(shared);
  shared.keeps_totals = false;
  leaves.run_shared(shared);
  const auto kept = keeps.gradients(), left = leaves.gradients();
  int norms = 0;
  for (const Parameter& p : leaves.parameters().parameters()) {
    CAPTURE(p.name);
    const bool of_norm = p.shape.size() == 1 && p.name.find("fc") == std::string::npos;
    norms += of_norm ? 1 : 0;
    for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
      if (left[i] != (of_norm ? 0 : kept[i])) FAIL_CHECK("gradient ", i, " is ", left[i]);
  }
  CHECK(norms == 42);
}

TEST_CASE("joint passes: which passes a ResNet-20 runs jointly" * test::needs_joint_passes()) {
  Training joint(joint_backend());
  int deferred = 0, summed = 0, outputs = 0;
  const Replay& replay = joint.network().graph().replay();
  joint.run();
  for (const auto& node : joint.network().graph().nodes()) {
    if (node->info.op != "batch_norm") continue;
    const bool is_deferred = replay.deferred_grad(node->inputs[0]) != nullptr;
    CHECK(is_deferred == (replay.grad(node->inputs[0]) == nullptr));
    deferred += is_deferred ? 1 : 0;
    outputs += replay.deferred_data(node->output) != nullptr ? 1 : 0;
    summed += replay.gradient_sums(node->output) != nullptr ? 1 : 0;
  }
  // All but the first layer, the two of stride 2 and the two on the way around them.
  CHECK(deferred == 16);
  // The two batch norms on the way around have no ReLU, and so take no sums. A joint pass leaves
  // the sums to the batch norm before its convolution. The gradient of the last block comes from
  // pooling, and those of the two blocks before a stride from a convolution with a stride.
  CHECK(summed == 16);
  // The first batch norm of each block leaves its output to the second convolution.
  CHECK(outputs == 9);
#if defined(SCULPT_CUDA_ON_HOST)
  CHECK(launches("norm_backward_on_images", joint) == 16);
  CHECK(launches("normalise", joint) == 21 - 9 + launches("normalise_images", joint));
  CHECK(launches("write_gradients", joint) == 21 - 16);
  CHECK(launches("sum_gradients", joint) == 21 - 16);
  CHECK(launches("finish_gradients", joint) == 21);
#endif
}

}  // namespace sculpt
