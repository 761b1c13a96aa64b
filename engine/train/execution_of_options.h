#pragma once
// The execution of a network as a config asks for it.

#include "engine/nn/execution.h"
#include "engine/train/execution_options.h"

namespace sculpt {

/// `chooser`: see KernelSettings; it is part of the device, which is opened after the config has
/// been read.
inline Execution execution_of(const ExecutionOptions& options,
                              kernels::Chooser* chooser = nullptr) {
  return {.precision = options.precision,
          .conv = options.conv,
          .layers = {.sparse = options.sparse == "on"      ? SparseKernels::on
                               : options.sparse == "off"   ? SparseKernels::off
                               : options.sparse == "tuned" ? SparseKernels::tuned
                                                           : SparseKernels::automatic,
                     .winograd = options.winograd == "auto",
                     .chooser = chooser},
          .step_graph = options.step_graph,
          .dense_timing = options.dense_timing};
}

}  // namespace sculpt
