#pragma once
// This file describes one pass of a layer as a problem that dense kernels and kernels that skip
// masked weights both solve, and times the two. kernel_rule.h decides between them without timing.

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/conv2d.h"
#include "kernels/tuning/chooser.h"
#include "kernels/tuning/pass_kernels.h"

namespace sculpt::ops {

using kernels::ConvPass;

kernels::Choice choice_of(const kernels::PassKernels& chosen, ConvPass pass);

/// One pass of a layer, with everything besides the machine that determines which kernels are
/// faster.
struct PassProblem {
  ConvPass pass = ConvPass::forward;
  /// Shape of the layer; a linear layer is a 1x1 convolution over one pixel.
  kernels::Conv2dShape shape;
  int64_t batch = 1;      ///< images of the largest batch
  bool winograd = false;  ///< true if the dense kernels of this pass use Winograd's algorithm
  double density = 1;     ///< kept weights over all weights
};

/// Returns the key under which a timed choice is remembered. Densities within the same quarter of
/// an octave share a key, which keeps the number of timed problems small.
std::string choice_key(const PassProblem& problem);

/// Times both alternately and keeps the least time of each, because other work on the machine only
/// adds time. Ends early once the times differ clearly and agree with `expected`.
kernels::Timing time_alternately(kernels::Choice expected, const std::function<void()>& native,
                                 const std::function<void()>& sparse);

}  // namespace sculpt::ops
