#include "engine/ops/weighted_node.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fmt/format.h>

namespace sculpt::ops {

using kernels::Choice;
using kernels::Timing;

namespace {

// Where nothing may be measured, and what measuring is expected to find: the largest density at
// which sparse kernels were faster than direct ones on the convolutions of ResNet-18 and ResNet-20
// (AVX-512, two threads).
constexpr double kActivationDensity = 0.5;
constexpr double kWeightDensity = 0.4;
constexpr double kWinogradDensity = 0.2;  // the same against Winograd's algorithm

// Where it may: above this density sparse kernels lose by far, and their lists would be long.
constexpr double kWorthTrying = 0.7;

constexpr PassKernels kAllSparse = {Choice::sparse, Choice::sparse, Choice::sparse};

/// Densities of one quarter octave share a choice, which spares measuring and keeps the number of
/// remembered choices small.
double rounded(double density) {
  return std::exp2(std::round(4 * std::log2(density)) / 4);
}

template <class Run>
double microseconds(const Run& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

/// Both in turn, the least of their times. Other work may stand in the way of either for a while,
/// and the answer is remembered: only one that is clear and `expected` ends this early.
template <class Native, class Sparse>
Timing time_in_turn(Choice expected, const Native& native, const Sparse& sparse) {
  constexpr int kLeastRounds = 2, kMostRounds = 12;
  constexpr double kClear = 1.5, kMostMicroseconds = 250e3;
  native();  // finds memory and caches as a step does
  sparse();
  Timing best = {HUGE_VAL, HUGE_VAL, Choice::sparse};
  double spent = 0;
  for (int round = 1; round <= kMostRounds; ++round) {
    const double of_native = microseconds(native), of_sparse = microseconds(sparse);
    spent += of_native + of_sparse;
    best.native = std::min(best.native, of_native);
    best.other = std::min(best.other, of_sparse);
    const auto [less, more] = std::minmax(best.native, best.other);
    const bool clear = more > kClear * less && best.faster() == expected;
    if (round >= kLeastRounds && clear) break;
    if (round > kLeastRounds && spent > kMostMicroseconds) break;
  }
  return best;
}

}  // namespace

void WeightedNode::prepare_sparse(const Graph& graph, const kernels::Conv2dShape& shape) {
  arena_ = &graph.parameters();
  max_batch_ = graph.max_batch();
  sparse_.prepare(*arena_, weight_, shape);
}

void WeightedNode::forward(const Replay& r) {
  run(LayerPass::forward, pass_kernels_.forward, r, nullptr);
}

void WeightedNode::backward(const Replay& r) {
  run(LayerPass::weight_grad, pass_kernels_.weight_grad, r, arena_->gradient(weight_));
  if (r.grad(inputs[0]) != nullptr)
    run(LayerPass::input_grad, pass_kernels_.input_grad, r, nullptr);
}

void WeightedNode::run(LayerPass pass, Choice choice, const Replay& r, void* dweight) {
  if (choice == Choice::sparse) return run_sparse(pass, r, dweight);
  switch (pass) {
    case LayerPass::forward:
      return dense_forward(r);
    case LayerPass::input_grad:
      return dense_input_grad(r);
    case LayerPass::weight_grad:
      return dense_weight_grad(r, dweight);
  }
}

void WeightedNode::run_sparse(LayerPass pass, const Replay& r, void* dweight) {
  const kernels::SparseConv2dKernels& kernels = sparse_.kernels();
  const void* x = r.data(inputs[0]);
  const void* weight = arena_->weight(weight_);
  switch (pass) {
    case LayerPass::forward:
      return kernels.forward(r.data(output), x, weight, bias(), sparse_.conv(), sparse_.workspace(),
                             r.launch);
    case LayerPass::input_grad:
      return kernels.input_grad(r.grad(inputs[0]), r.grad(output), weight, sparse_.conv(),
                                grad_write[0], sparse_.workspace(), r.launch);
    case LayerPass::weight_grad:
      return kernels.weight_grad(dweight, bias_gradient(), r.grad(output), x, sparse_.conv(),
                                 kernels::GradWrite::overwrite, sparse_.workspace(), r.launch);
  }
}

// Biases would want partial sums of their own; layers that batch norm follows have none. Planes of
// one pixel are faster together.
BlockPasses* WeightedNode::block_passes() {
  const kernels::ActivationShape& out = sparse_.shape().out;
  const bool possible =
      sparse_.kernels().on_blocks.forward != nullptr && !bias_ && out.height * out.width > 1;
  return possible ? this : nullptr;
}

bool WeightedNode::ready(const Replay&) {
  return pass_kernels_ == kAllSparse;
}

void WeightedNode::begin(Pass pass, const Replay&) {
  sparse_.gather();
  if (pass == Pass::backward) sparse_.zero_partials();
}

void WeightedNode::run(Pass pass, const Replay& block, const kernels::RowRange& rows) {
  const auto& kernels = sparse_.kernels().on_blocks;
  const kernels::SparseConv2d& conv = sparse_.conv();
  if (pass == Pass::forward)
    kernels.forward(block.data(output), block.data(inputs[0]), sparse_.values(), conv, rows,
                    block.launch);
  else if (void* dx = block.grad(inputs[0]))
    kernels.input_grad(dx, block.grad(output), sparse_.values(), conv, grad_write[0], rows,
                       block.launch);
}

void WeightedNode::weight_grad(const Replay& block, const kernels::RowRange& rows) {
  sparse_.kernels().on_blocks.weight_grad(sparse_.partial(block.thread()), block.grad(output),
                                          block.data(inputs[0]), sparse_.conv(), rows,
                                          block.launch);
}

RowWindow WeightedNode::window() const {
  const kernels::Conv2dShape& shape = sparse_.shape();
  return {shape.kernel_h, shape.stride, shape.padding};
}

void WeightedNode::end(Pass pass, const Replay&) {
  if (pass == Pass::backward) sparse_.sum_partials(arena_->gradient(weight_));
}

std::optional<PassKernels> WeightedNode::pass_kernels() const {
  if (!sparse_.available()) return std::nullopt;
  return pass_kernels_;
}

bool WeightedNode::follow_mask(const Replay& r) {
  if (sparse_.available() && sparse_.follow_mask()) choose_kernels(r);
  return sparse_.kept_only();
}

void WeightedNode::choose_kernels(const Replay& r) {
  pass_kernels_ = {};
  if (!sparse_.masked() || r.sparse == SparseKernels::off) return;
  if (r.sparse == SparseKernels::automatic && sparse_.density() > kWorthTrying) return;
  sparse_.build();
  pass_kernels_ = choose(r);
  if (pass_kernels_ == PassKernels{}) sparse_.drop();
  if (pass_kernels_ == kAllSparse) sparse_.keep_only(block_passes() != nullptr);
}

PassKernels WeightedNode::choose(const Replay& r) {
  if (r.sparse == SparseKernels::on || sparse_.density() == 0) return kAllSparse;
  PassKernels chosen;
  chosen.forward = choose_faster(LayerPass::forward, r);
  chosen.weight_grad = choose_faster(LayerPass::weight_grad, r);
  // An input without a gradient goes along with the forward pass.
  chosen.input_grad =
      r.grad(inputs[0]) == nullptr ? chosen.forward : choose_faster(LayerPass::input_grad, r);
  return chosen;
}

Choice WeightedNode::choose_faster(LayerPass pass, const Replay& r) {
  if (r.chooser != nullptr)
    return r.chooser->choose(problem(pass, r), [&] { return measure(pass, r); });
  return expected(pass, r);
}

Choice WeightedNode::expected(LayerPass pass, const Replay& r) const {
  const double limit = by_winograd(pass, r)             ? kWinogradDensity
                       : pass == LayerPass::weight_grad ? kWeightDensity
                                                        : kActivationDensity;
  return sparse_.density() <= limit ? Choice::sparse : Choice::native;
}

/// Memory that was never written reads as one page of zeros, from cache.
void WeightedNode::touch(void* activation, const kernels::ActivationShape& shape) const {
  const kernels::Backend& backend = arena_->backend();
  const int64_t cells = backend.blocks(max_batch_) * shape.block_stride();
  std::memset(activation, 0, static_cast<size_t>(cells * backend.lanes) * backend.activation_bytes);
}

/// On the network's own activations: the next step writes them anew.
Timing WeightedNode::measure(LayerPass pass, const Replay& r) {
  Replay trial = r;
  trial.mode = Mode::train;
  trial.launch.batch = max_batch_;
  const bool reads_images = r.grad(inputs[0]) == nullptr;  // which stay loaded
  if (!reads_images) touch(r.data(inputs[0]), sparse_.shape().in);
  touch(r.grad(output), sparse_.shape().out);
  Buffer dweight(static_cast<size_t>((*arena_)[weight_].count) * arena_->element_bytes(),
                 "a trial gradient", arena_->backend().memory);
  const auto with = [&](Choice choice) {
    return [this, pass, choice, &trial, &dweight] { run(pass, choice, trial, dweight.data()); };
  };
  return time_in_turn(expected(pass, r), with(Choice::native), with(Choice::sparse));
}

std::string WeightedNode::problem(LayerPass pass, const Replay& r) const {
  const kernels::Conv2dShape& s = sparse_.shape();
  const char* const name = pass == LayerPass::forward      ? "forward"
                           : pass == LayerPass::input_grad ? "input_grad"
                                                           : "weight_grad";
  return fmt::format(
      "sparse {}{} {}x{}x{} to {}, {}x{} stride {} padding {} groups {}, batch {}, "
      "{:.2g} % kept",
      name, by_winograd(pass, r) ? " against winograd" : "", s.in.channels, s.in.height, s.in.width,
      s.out.channels, s.kernel_h, s.kernel_w, s.stride, s.padding, s.groups, max_batch_,
      100 * rounded(sparse_.density()));
}

}  // namespace sculpt::ops
