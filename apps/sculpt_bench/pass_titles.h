#pragma once
// The names of the passes of a layer in the tables of sculpt_bench.

#include "engine/ops/kernel_choice.h"

namespace sculpt::bench {

/// Returns "forward", "input gradient" or "weight gradient".
inline const char* title_of(kernels::ConvPass pass) {
  switch (pass) {
    case kernels::ConvPass::forward:
      return "forward";
    case kernels::ConvPass::input_grad:
      return "input gradient";
    case kernels::ConvPass::weight_grad:
      break;
  }
  return "weight gradient";
}

}  // namespace sculpt::bench
