#pragma once
// The kernels that a layer with a weight runs on.

#include "kernels/tuning/choice_file.h"

namespace sculpt::kernels {

/// The kernels of the three passes of a layer with a weight: dense kernels (Choice::native) or
/// kernels that skip masked weights (Choice::sparse).
struct PassKernels {
  Choice forward = Choice::native;
  Choice input_grad = Choice::native;
  Choice weight_grad = Choice::native;
  bool operator==(const PassKernels&) const = default;
};

}  // namespace sculpt::kernels
