#pragma once
// Batch norm to be tested: sizes, what it reads, and its passes over whole batches.

#include <fmt/format.h>

#include "kernels/batch_norm.h"
#include "tests/kernels/kernel_test_util.h"

namespace sculpt::kernels::test::batch_norm {

using Case = ActivationCase;

inline const std::vector<Case> kCases = {
    {1, {3, 5, 7, 0}},   {5, {2, 4, 3, 1}},    {16, {4, 8, 8, 1}},  {33, {5, 3, 3, 2}},
    {37, {17, 1, 1, 0}}, {50, {3, 13, 11, 1}}, {18, {2, 9, 33, 0}}, {20, {3, 30, 5, 2}},
};

struct Inputs {
  Values x, residual, gamma, beta, running_mean, running_var;
};

inline Inputs make_inputs(const Case& c, uint64_t seed, double mean = 0.3, double spread = 1.7) {
  Inputs in;
  in.x = random_values(c.count(), seed, spread);
  for (double& v : in.x)
    v = representable(v + mean);
  in.residual = random_values(c.count(), seed + 1);
  in.gamma = random_values(c.shape.channels, seed + 2);
  in.beta = random_values(c.shape.channels, seed + 3, 0.5);
  in.running_mean = random_values(c.shape.channels, seed + 4);
  in.running_var = random_values(c.shape.channels, seed + 5);
  for (double& v : in.running_var)
    v = representable(v + 1.5);
  return in;
}

/// Everything that forward_train writes.
struct Forward {
  Activation y;
  Array mean, inv_std, running_mean, running_var;
};

inline Forward run_forward_train(const Backend& backend, const Case& c, const Inputs& in,
                                 bool with_residual, const BatchNormOptions& options,
                                 const ChannelSums* sums = nullptr,
                                 const SharedBatch* shared = nullptr,
                                 const Values* gate = nullptr) {
  const Launch launch = make_launch(backend, c.batch);
  Activation x(backend, c.shape, launch, in.x, 1000.0);
  Activation open(backend, c.shape, launch, gate != nullptr ? *gate : in.x, 0.0);
  Activation residual(backend, c.shape, launch, in.residual, -1000.0);
  Array gamma(backend, in.gamma), beta(backend, in.beta);
  const Values blank(static_cast<size_t>(c.shape.channels), 77.0);
  Forward out{Activation(backend, c.shape, launch), Array(backend, blank), Array(backend, blank),
              Array(backend, in.running_mean), Array(backend, in.running_var)};
  DeviceScratch workspace(
      backend, backend.batch_norm.workspace_bytes(c.shape, std::max<int64_t>(c.batch, 1)));
  backend.batch_norm.forward_train({.y = out.y.data(),
                                    .x = x.data(),
                                    .residual = with_residual ? residual.data() : nullptr,
                                    .gamma = gamma.data(),
                                    .beta = beta.data(),
                                    .saved_mean = out.mean.data(),
                                    .saved_inv_std = out.inv_std.data(),
                                    .running_mean = out.running_mean.data(),
                                    .running_var = out.running_var.data(),
                                    .gate = gate != nullptr ? open.data() : nullptr,
                                    .sums = sums,
                                    .shared = shared,
                                    .shape = c.shape,
                                    .options = options,
                                    .workspace = workspace.data(),
                                    .launch = launch});
  return out;
}

struct Backward {
  Values dx, dresidual, dgamma, dbeta;
};

struct Mode {
  bool training = true;
  bool relu = false;
  bool with_residual = false;
  GradWrite write_dx = GradWrite::overwrite;
  GradWrite write_dresidual = GradWrite::overwrite;
  bool residual_needs_grad = true;
  bool input_needs_grad = true;
  bool channels_need_grad = true;

  std::string name() const {
    return fmt::format(
        "training {} relu {} residual {} (gradient {}) input gradient {} writes {}{}", training,
        relu, with_residual, residual_needs_grad, input_needs_grad, static_cast<int>(write_dx),
        static_cast<int>(write_dresidual));
  }
};

/// Forward and backward; gradients that are accumulated start at `before`.
inline Backward run_backward(const Backend& backend, const Case& c, const Inputs& in,
                             const Values& dy, const Values& before, const Mode& mode,
                             const SharedBatch* shared = nullptr) {
  const Launch launch = make_launch(backend, c.batch);
  BatchNormOptions options;
  options.relu = mode.relu;
  Activation x(backend, c.shape, launch, in.x, 1000.0);
  Activation residual(backend, c.shape, launch, in.residual, 1000.0);
  Array gamma(backend, in.gamma), beta(backend, in.beta);
  DeviceScratch workspace(
      backend, backend.batch_norm.workspace_bytes(c.shape, std::max<int64_t>(c.batch, 1)));

  Forward f = run_forward_train(backend, c, in, mode.with_residual, options, nullptr, shared);
  Array running_mean(backend, in.running_mean), running_var(backend, in.running_var);
  if (!mode.training)
    backend.batch_norm.forward_eval({.y = f.y.data(),
                                     .x = x.data(),
                                     .residual = mode.with_residual ? residual.data() : nullptr,
                                     .gamma = gamma.data(),
                                     .beta = beta.data(),
                                     .running_mean = running_mean.data(),
                                     .running_var = running_var.data(),
                                     .shape = c.shape,
                                     .options = options,
                                     .launch = launch});

  Activation grad(backend, c.shape, launch, dy, 0.0);
  Activation dx(backend, c.shape, launch, before, 0.0);
  Activation dresidual(backend, c.shape, launch, before, 0.0);
  const Values blank(static_cast<size_t>(c.shape.channels), 77.0);
  Array dgamma(backend, blank), dbeta(backend, blank);
  const auto backward =
      mode.training ? backend.batch_norm.backward_train : backend.batch_norm.backward_eval;
  // Each kernel gets the statistics of its own kind only, so that reading the other kind shows.
  backward(
      {.dx = mode.input_needs_grad ? dx.data() : nullptr,
       .dresidual = mode.with_residual && mode.residual_needs_grad ? dresidual.data() : nullptr,
       .write_dx = mode.write_dx,
       .write_dresidual = mode.write_dresidual,
       .dgamma = mode.channels_need_grad ? dgamma.data() : nullptr,
       .dbeta = mode.channels_need_grad ? dbeta.data() : nullptr,
       .dy = grad.data(),
       .x = x.data(),
       .y = mode.with_residual ? f.y.data() : nullptr,
       .gamma = gamma.data(),
       .beta = beta.data(),
       .saved_mean = mode.training ? f.mean.data() : nullptr,
       .saved_inv_std = mode.training ? f.inv_std.data() : nullptr,
       .running_mean = mode.training ? nullptr : running_mean.data(),
       .running_var = mode.training ? nullptr : running_var.data(),
       .shared = shared,
       .shape = c.shape,
       .options = options,
       .workspace = workspace.data(),
       .launch = launch});
  CHECK(dx.frame_intact());
  CHECK(dresidual.frame_intact());
  CHECK(dx.padded_lanes_zero());
  CHECK(dresidual.padded_lanes_zero());
  CHECK(grad.nchw() == dy);
  return {dx.nchw(), dresidual.nchw(), dgamma.values(), dbeta.values()};
}

}  // namespace sculpt::kernels::test::batch_norm
