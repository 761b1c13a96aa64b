#pragma once
// A convolution whose passes run on blocks of images, for every family of kernels on blocks.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/kernels/conv2d_case.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/kernels/row_ranges.h"

namespace sculpt::kernels::test {

/// The activations of a convolution, and passes on one block of them, a few rows at a time in any
/// order. `Kernels` is a family of kernels on blocks; `Shape` is what describes the layer to it.
template <class Kernels, class Shape>
class BlockLayer {
 public:
  BlockLayer(const Backend& backend, const Kernels& kernels, const Shape& shape,
             const ConvInputs& inputs)
      : backend_(backend),
        kernels_(kernels),
        shape_(shape),
        inputs_(inputs),
        x_(make_activation(backend, inputs.in, launch(), inputs.x, 3.0)),
        y_(backend, inputs.out, launch()),
        dy_(make_activation(backend, inputs.out, launch(), inputs.dy, 0.0)),
        dx_(make_activation(backend, inputs.in, launch(), inputs.x, 0.0)) {
    y_.zero_frame();
  }

  int64_t blocks() const { return backend_.blocks(inputs_.batch); }

  /// Runs the forward pass and checks after each call how much of y is written. `args` has what the
  /// kernels read besides the activations.
  void forward(int64_t block, ConvForward args) {
    args.y = at(y_, inputs_.out, block);
    args.x = at(x_, inputs_.in, block);
    args.launch = launch_of(block);
    for (const RowRange& rows : shuffled_row_ranges(inputs_.out, seed(block))) {
      kernels_.forward(args, shape_, rows);
      written_ += args.launch.batch * inputs_.out.channels * rows.count() * inputs_.out.width;
      CHECK(y_.written() == written_);
    }
  }

  /// Ranges of rows of dx end at bands, whether or not the bands are whole strides.
  void input_grad(int64_t block, ConvInputGrad args) {
    args.dx = at(dx_, inputs_.in, block);
    args.dy = at(dy_, inputs_.out, block);
    args.launch = launch_of(block);
    for (const RowRange& rows : shuffled_row_ranges(inputs_.in, seed(block) + 100))
      kernels_.input_grad(args, shape_, rows);
  }

  /// Adds the sums over `ranges` of rows of the output to args.dweight.
  void weight_grad(int64_t block, ConvWeightGrad args, const std::vector<RowRange>& ranges) {
    args.dy = at(dy_, inputs_.out, block);
    args.x = at(x_, inputs_.in, block);
    args.launch = launch_of(block);
    for (const RowRange& rows : ranges)
      kernels_.weight_grad(args, shape_, rows);
  }

  /// Checks that y and dx have the bits of passes on whole batches, and that no frame has changed.
  template <class Passes>
  void check_same(Passes& whole, GradWrite write) {
    CHECK(y_.nchw() == whole.forward(false));
    CHECK(dx_.nchw() == whole.input_grad(write));
    CHECK(y_.frame_is_zero());
    CHECK(dx_.frame_is_zero());
    CHECK(dx_.padded_lanes_zero());
  }

 private:
  static uint64_t seed(int64_t block) { return static_cast<uint64_t>(block); }
  Launch launch() const { return make_launch(backend_, inputs_.batch); }
  Launch launch_of(int64_t block) const {
    return make_launch(backend_, std::min(backend_.lanes, inputs_.batch - block * backend_.lanes));
  }
  float* at(Activation& of, const ActivationShape& shape, int64_t block) const {
    return static_cast<float*>(of.data()) + block * shape.block_stride() * backend_.lanes;
  }

  const Backend& backend_;
  const Kernels& kernels_;
  const Shape& shape_;
  const ConvInputs& inputs_;
  Activation x_, y_, dy_, dx_;
  int64_t written_ = 0;
};

}  // namespace sculpt::kernels::test
