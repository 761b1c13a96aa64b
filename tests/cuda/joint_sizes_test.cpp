// The joint backward pass of a convolution and its batch norm at the sizes of real training steps,
// against the separate passes of the same backend. On the host layer batches and images are small.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/cuda/real_layers.h"
#include "tests/support/comparison.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// Everything that the two passes write.
struct Gradients {
  Floats dx, dweight, dresidual;
  /// The sums of dx and of dx * (below - mean) over each channel, where x is positive.
  Values sums;
};

/// The arrays of a layer whose batch norm has a residual and a ReLU. They are any numbers: the
/// formulas of the gradients hold for all of them.
class Layers {
 public:
  Layers(const Backend& backend, const LayerProblem& p)
      : backend_(backend),
        p_(p),
        count_(std::ssize(p.x)),
        x_(array(1)),
        c_(array(5)),
        y_(array(6)),
        dy_(array(7)),
        below_(array(8)),
        weight_(to_device(backend, p.weight, backend.compute_weight_bytes)),
        gamma_(channels(9)),
        beta_(channels(10)),
        mean_(channels(11)),
        inv_std_(channels(12)),
        dgamma_(channels(13)),
        dbeta_(channels(14)),
        workspace_(backend,
                   std::max(backend.conv2d.workspace_bytes(p.shape, p.layer.batch),
                            backend.batch_norm.workspace_bytes(p.shape.out, p.layer.batch))) {}

  Gradients jointly() {
    DeferredGradient deferred{norm()};
    backend_.batch_norm.backward_train(deferred.norm);
    Buffer dx = array(15), dresidual = array(16);
    Buffer dweight = to_device(backend_, p_.weight, sizeof(float));
    deferred.norm.dresidual = dresidual.data();
    DeviceScratch partials(backend_, backend_.conv_norm.sums_bytes(p_.shape, p_.layer.batch));
    GradientSums sums = {static_cast<double*>(partials.data()), 0, below_.data(), mean_.data()};
    backend_.conv_norm.backward({.dx = dx.data(),
                                 .write = GradWrite::accumulate,
                                 .dweight = dweight.data(),
                                 .x = x_.data(),
                                 .weight = weight_.data(),
                                 .dy = &deferred,
                                 .sums = &sums,
                                 .workspace = workspace_.data(),
                                 .launch = launch()},
                                p_.shape);
    return {activation(dx), from_device(backend_, dweight, sizeof(float)), activation(dresidual),
            added_up(sums)};
  }

  Gradients separately() {
    Buffer dx = array(15), dresidual = array(16), dc = array(17);
    Buffer dweight = to_device(backend_, p_.weight, sizeof(float));
    BatchNormBackward args = norm();
    args.dx = dc.data();
    args.dresidual = dresidual.data();
    backend_.batch_norm.backward_train(args);
    backend_.conv2d.input_grad({.dx = dx.data(),
                                .write = GradWrite::accumulate,
                                .dy = dc.data(),
                                .weight = weight_.data(),
                                .workspace = workspace_.data(),
                                .launch = launch()},
                               p_.shape);
    backend_.conv2d.weight_grad({.dweight = dweight.data(),
                                 .dy = dc.data(),
                                 .x = x_.data(),
                                 .workspace = workspace_.data(),
                                 .launch = launch()},
                                p_.shape);
    const Floats written = activation(dx);
    return {written, from_device(backend_, dweight, sizeof(float)), activation(dresidual),
            sums_of(written)};
  }

 private:
  Launch launch() const { return make_launch(backend_, p_.layer.batch); }
  Buffer array(uint64_t seed) const {
    return to_device(backend_, random_floats(count_, seed, "bf16"), backend_.activation_bytes);
  }
  Buffer channels(uint64_t seed) const {
    return to_device(backend_, random_floats(p_.shape.out.channels, seed, "fp32"), sizeof(float));
  }
  Floats activation(const Buffer& buffer) const {
    return from_device(backend_, buffer, backend_.activation_bytes);
  }

  BatchNormBackward norm() {
    return {.dgamma = dgamma_.data(),
            .dbeta = dbeta_.data(),
            .dy = dy_.data(),
            .x = c_.data(),
            .y = y_.data(),
            .gamma = gamma_.data(),
            .beta = beta_.data(),
            .saved_mean = mean_.data(),
            .saved_inv_std = inv_std_.data(),
            .shape = p_.shape.out,
            .options = {.relu = true},
            .workspace = workspace_.data(),
            .launch = launch()};
  }

  Values added_up(const GradientSums& sums) const {
    const auto channels = static_cast<size_t>(p_.shape.in.channels);
    const auto chunks = static_cast<size_t>(sums.chunks);
    Values partials(2 * channels * chunks), result(2 * channels);
    backend_.memory->copy_out(partials.data(), sums.partials, partials.size() * sizeof(double));
    for (size_t i = 0; i < partials.size(); ++i)
      result[i / (2 * chunks) * 2 + i % 2] += partials[i];
    return result;
  }
  Values sums_of(const Floats& dx) const {
    const Floats x = activation(x_), below = activation(below_);
    const Floats mean = from_device(backend_, mean_, sizeof(float));
    const size_t channels = mean.size();
    Values result(2 * channels);
    for (size_t i = 0; i < dx.size(); ++i) {
      if (x[i] <= 0) continue;
      const auto g = static_cast<double>(dx[i]);
      result[2 * (i % channels)] += g;
      result[2 * (i % channels) + 1] +=
          g * (static_cast<double>(below[i]) - static_cast<double>(mean[i % channels]));
    }
    return result;
  }

  const Backend& backend_;
  const LayerProblem& p_;
  int64_t count_;  ///< elements of each activation
  Buffer x_, c_, y_, dy_, below_, weight_, gamma_, beta_, mean_, inv_std_, dgamma_, dbeta_;
  DeviceScratch workspace_;
};

}  // namespace

TEST_CASE("real sizes: joint backward passes" * needs_joint_passes()) {
  for (const Backend* backend : tested_backends()) {
    int compared = 0;
    for (const Layer& layer : kResNet20) {
      const LayerProblem p(layer, "bf16");
      if (!backend->conv_norm.fits(p.shape)) continue;
      ++compared;
      CAPTURE(p.name(ConvPass::input_grad));
      Layers layers(*backend, p);
      const Gradients joint = layers.jointly(), separate = layers.separately();
      const double errors[] = {sculpt::testing::relative_error(joint.dx, separate.dx),
                               sculpt::testing::relative_error(joint.dweight, separate.dweight),
                               sculpt::testing::relative_error(joint.dresidual, separate.dresidual),
                               sculpt::testing::relative_error(joint.sums, separate.sums)};
      fmt::print("{} jointly: dx {:.2g}, dweight {:.2g}, dresidual {:.2g}, sums {:.2g}\n",
                 p.name(ConvPass::input_grad), errors[0], errors[1], errors[2], errors[3]);
      // Both round the gradient of the convolution's output and dx to bf16, from sums that may
      // differ in their last bits.
      for (const double error : errors)
        CHECK(error < 1e-3);
    }
    CHECK(compared == 3);  // one layer of each stage
  }
}
