#include "engine/ops/weighted_node.h"

#include <cstring>

#include "engine/ops/kernel_rule.h"

namespace sculpt::ops {

using kernels::Choice;
using kernels::PassKernels;
using kernels::Timing;

namespace {

// Above this density, nothing is timed: kernels that skip masked weights are much slower there, and
// their lists would be long.
constexpr double kWorthTiming = 0.7;

constexpr PassKernels kAllSparse = {Choice::sparse, Choice::sparse, Choice::sparse};

}  // namespace

void WeightedNode::prepare_sparse(const Graph& graph, const kernels::Conv2dShape& shape) {
  arena_ = &graph.parameters();
  max_batch_ = graph.max_batch();
  sparse_.prepare(*arena_, weight_, shape);
}

void WeightedNode::forward(const Replay& r) {
  run(ConvPass::forward, pass_kernels_.forward, r, nullptr);
}

void WeightedNode::backward(const Replay& r) {
  if (r.deferred_grad(output) != nullptr)
    return dense_joint_backward(r, arena_->edit_gradient(weight_));
  if (pass_kernels_.weight_grad == Choice::sparse && arena_->full_gradients().requested())
    full_weight_grad(r);
  else
    run(ConvPass::weight_grad, pass_kernels_.weight_grad, r, arena_->edit_gradient(weight_));
  if (r.grad(inputs[0]) != nullptr) run(ConvPass::input_grad, pass_kernels_.input_grad, r, nullptr);
}

void WeightedNode::run(ConvPass pass, Choice choice, const Replay& r, void* dweight) {
  if (choice == Choice::sparse) return run_sparse(pass, r, dweight);
  switch (pass) {
    case ConvPass::forward:
      return dense_forward(r);
    case ConvPass::input_grad:
      return dense_input_grad(r);
    case ConvPass::weight_grad:
      return dense_weight_grad(r, dweight);
  }
}

void WeightedNode::full_weight_grad(const Replay& r) {
  FullGradients& gradients = arena_->full_gradients();
  dense_weight_grad(r, gradients.edit_gradient(weight_));
  gradients.hand_to_optimizer(weight_);
}

void WeightedNode::run_sparse(ConvPass pass, const Replay& r, void* dweight) {
  const kernels::SparseConv2dKernels& kernels = sparse_.kernels();
  switch (pass) {
    case ConvPass::forward:
      return kernels.forward({.y = r.data(output),
                              .x = r.data(inputs[0]),
                              .weight = arena_->weight(weight_),
                              .bias = bias(),
                              .workspace = sparse_.workspace(),
                              .launch = r.launch},
                             sparse_.conv());
    case ConvPass::input_grad:
      return kernels.input_grad({.dx = r.grad(inputs[0]),
                                 .write = grad_write[0],
                                 .dy = r.grad(output),
                                 .weight = arena_->weight(weight_),
                                 .workspace = sparse_.workspace(),
                                 .launch = r.launch},
                                sparse_.conv());
    case ConvPass::weight_grad:
      return kernels.weight_grad({.dweight = dweight,
                                  .dbias = bias_gradient(),
                                  .dy = r.grad(output),
                                  .x = r.data(inputs[0]),
                                  .workspace = sparse_.workspace(),
                                  .launch = r.launch},
                                 sparse_.conv());
  }
}

std::optional<PassKernels> WeightedNode::pass_kernels() const {
  if (!sparse_.available()) return std::nullopt;
  return pass_kernels_;
}

bool WeightedNode::follow_mask(const Replay& r, bool may_overwrite) {
  if (sparse_.available() && sparse_.follow_mask()) choose_kernels(r, may_overwrite);
  return sparse_.kept_only();
}

void WeightedNode::choose_kernels(const Replay& r, bool may_time) {
  pass_kernels_ = {};
  if (!sparse_.masked() || settings_.sparse == SparseKernels::off) return;
  const bool timed =
      may_time && settings_.sparse == SparseKernels::tuned && settings_.chooser != nullptr;
  if (timed && sparse_.density() > kWorthTiming) return;
  if (timed) sparse_.build();  // timing runs sparse kernels, which need the lists
  pass_kernels_ = choose(r, timed);
  if (pass_kernels_ == PassKernels{}) return sparse_.drop();
  if (!timed) sparse_.build();
  if (pass_kernels_ == kAllSparse) sparse_.keep_only();
  if (block_passes() != nullptr) sparse_.prepare_blocks();
}

PassKernels WeightedNode::choose(const Replay& r, bool timed) {
  if (settings_.sparse == SparseKernels::on || sparse_.density() == 0) return kAllSparse;
  PassKernels chosen;
  chosen.forward = choose_faster(ConvPass::forward, r, timed);
  chosen.weight_grad = choose_faster(ConvPass::weight_grad, r, timed);
  // A layer without an input gradient reports the choice of its forward pass.
  chosen.input_grad =
      r.grad(inputs[0]) == nullptr ? chosen.forward : choose_faster(ConvPass::input_grad, r, timed);
  return chosen;
}

Choice WeightedNode::choose_faster(ConvPass pass, const Replay& r, bool timed) {
  const PassProblem problem = pass_problem(pass);
  if (timed)
    return settings_.chooser->choose(choice_key(problem), [&] { return measure(problem, r); });
  return choose_by_rule(problem, this_machine(arena_->backend().name));
}

PassProblem WeightedNode::pass_problem(ConvPass pass) const {
  return {pass, sparse_.shape(), max_batch_, by_winograd(max_batch_), sparse_.density()};
}

/// Zeroes an activation before a measurement. Otherwise memory that was never written would be read
/// as one page of zeros from cache, which would distort the times.
void WeightedNode::touch(void* activation, const kernels::ActivationShape& shape) const {
  const kernels::Backend& backend = arena_->backend();
  const int64_t cells = backend.blocks(max_batch_) * shape.block_stride();
  std::memset(activation, 0, static_cast<size_t>(cells * backend.lanes) * backend.activation_bytes);
}

/// Times both kernels on the network's own activations, which the next step overwrites.
Timing WeightedNode::measure(const PassProblem& problem, const Replay& r) {
  Replay trial = r;
  trial.mode = Mode::train;
  trial.launch.batch = max_batch_;
  const bool reads_images = r.grad(inputs[0]) == nullptr;  // images must not be overwritten
  if (!reads_images) touch(r.data(inputs[0]), sparse_.shape().in);
  touch(r.grad(output), sparse_.shape().out);
  Buffer dweight(static_cast<size_t>((*arena_)[weight_].count) * arena_->element_bytes(),
                 "a trial gradient", arena_->backend().memory);
  const auto with = [&](Choice choice) {
    return [this, pass = problem.pass, choice, &trial, &dweight] {
      run(pass, choice, trial, dweight.data());
    };
  };
  return time_alternately(choose_by_rule(problem, this_machine(arena_->backend().name)),
                          with(Choice::native), with(Choice::sparse));
}

const WeightedNode* weighted_node(const Node& node) {
  return dynamic_cast<const WeightedNode*>(&node);
}

}  // namespace sculpt::ops
