#pragma once
// execution_of() turns the settings of a config into the execution of a network.

#include "engine/nn/execution.h"
#include "engine/train/execution_options.h"

namespace sculpt {

/// KernelSettings describes `chooser`, which is part of the device. A device is opened after the
/// config has been read.
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
