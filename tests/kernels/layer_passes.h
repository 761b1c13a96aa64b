#pragma once
// The three passes of a layer with a weight over a whole batch, for every family of kernels that
// takes the arguments of kernels/conv_arguments.h.

#include <utility>

#include "kernels/conv_arguments.h"
#include "tests/kernels/kernel_test_util.h"

namespace sculpt::kernels::test {

/// Returns values(count, seed).
using MakeValues = Values (*)(int64_t count, uint64_t seed);
inline Values uniform_values(int64_t count, uint64_t seed) {
  return random_values(count, seed);
}

/// The numbers that the passes of a layer read. The weight is whole: [out][in / groups][taps].
struct LayerInputs {
  LayerInputs(const ActivationShape& in_shape, const ActivationShape& out_shape, int64_t images,
              int64_t weights, MakeValues values = uniform_values)
      : in(in_shape),
        out(out_shape),
        batch(images),
        x(values(batch * in.elements_per_image(), 1)),
        dy(values(batch * out.elements_per_image(), 2)),
        weight(values(weights, 3)),
        bias(values(out.channels, 4)) {}

  /// Returns the output channel of an element of y.
  size_t channel_of(size_t element) const {
    return element / static_cast<size_t>(out.height * out.width) % bias.size();
  }

  ActivationShape in, out;
  int64_t batch;
  Values x, dy, weight, bias;
};

/// What the frames of activations hold before a pass, and must still hold after it.
enum class Frame {
  zero,  ///< for kernels that read the halo
  nan,   ///< for kernels that do not
};

/// Runs the passes of a family of kernels on a layer. Arrays that a pass writes start with the
/// numbers that they are the gradients of, y with those of dy; padded lanes of gradients start at
/// 0.
template <class Kernels, class Shape>
struct LayerPasses {
  const Backend& backend;
  const Kernels& kernels;
  const Shape& shape;  ///< a Conv2dShape, SparsePattern or LinearShape
  const LayerInputs& inputs;
  Array weight;  ///< as forward() and input_grad() of the kernels read it
  size_t workspace_bytes;
  Frame frame = Frame::zero;

  /// Returns y. `sums` is for kernels that can leave the sums of y's channels.
  Values forward(bool with_bias, ChannelSums* sums = nullptr) {
    Activation x = activation(inputs.in, inputs.x, 3.0);
    Activation y = activation(inputs.out, inputs.dy, -7.0);
    Array bias(backend, inputs.bias);
    DeviceScratch workspace(backend, workspace_bytes);
    kernels.forward({.y = y.data(),
                     .x = x.data(),
                     .weight = weight.data(),
                     .bias = with_bias ? bias.data() : nullptr,
                     .sums = sums,
                     .workspace = workspace.data(),
                     .launch = launch()},
                    shape);
    check_frame(y);
    CHECK(y.padded_lanes_finite());
    return y.nchw();
  }

  /// Returns dx.
  Values input_grad(GradWrite write) {
    Activation dx = activation(inputs.in, inputs.x, 0.0);
    Activation dy = activation(inputs.out, inputs.dy, 0.0);
    DeviceScratch workspace(backend, workspace_bytes);
    kernels.input_grad({.dx = dx.data(),
                        .write = write,
                        .dy = dy.data(),
                        .weight = weight.data(),
                        .workspace = workspace.data(),
                        .launch = launch()},
                       shape);
    check_frame(dx);
    CHECK(dx.padded_lanes_zero());
    return dx.nchw();
  }

  /// Returns dweight, which is `before` when the pass starts, and dbias.
  std::pair<Values, Values> weight_grad(GradWrite write, bool with_bias, const Values& before) {
    Activation x = activation(inputs.in, inputs.x, 5.0);
    Activation dy = activation(inputs.out, inputs.dy, 0.0);
    Array dweight(backend, before), dbias(backend, inputs.bias);
    DeviceScratch workspace(backend, workspace_bytes);
    kernels.weight_grad({.dweight = dweight.data(),
                         .dbias = with_bias ? dbias.data() : nullptr,
                         .write = write,
                         .dy = dy.data(),
                         .x = x.data(),
                         .workspace = workspace.data(),
                         .launch = launch()},
                        shape);
    return {dweight.values(), dbias.values()};
  }

 private:
  Launch launch() const { return make_launch(backend, inputs.batch); }

  Activation activation(const ActivationShape& images, const Values& nchw, double padded) const {
    Activation made(backend, images, launch(), nchw, padded);
    if (frame == Frame::zero) made.zero_frame();
    return made;
  }

  void check_frame(const Activation& output) const {
    if (frame == Frame::zero)
      CHECK(output.frame_is_zero());
    else
      CHECK(output.frame_intact());
  }
};

}  // namespace sculpt::kernels::test
