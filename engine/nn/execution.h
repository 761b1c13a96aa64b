#pragma once
// Execution says how a network is executed, as opposed to what it computes: which kernels run and
// how steps are launched. Only `dense_timing` and `step_graph` never change the bits of a result.

#include <string>

#include "engine/dist/single.h"
#include "engine/nn/gradient_reducer.h"
#include "engine/ops/kernel_settings.h"

namespace sculpt {

/// Settings that a network gets when it is made and keeps. Rebuilding a network passes them on.
struct Execution {
  // These two members choose the backend and the kernels in it (kernels/device/device.h). They
  // describe the device that the network was made for.
  std::string precision = "auto";
  std::string conv = "native";
  /// The choice of kernels of each layer with a weight.
  KernelSettings layers = {};
  /// True if a device launches a training step as one graph, where it can.
  bool step_graph = true;
  /// True if training times a few steps on dense kernels where layers skip masked weights.
  bool dense_timing = true;
  /// The ranks that share each batch. They must outlive the network.
  Communicator* ranks = &one_rank();
  /// True if batch norm in training uses the statistics of the whole batch; false if it uses those
  /// of the images that this rank computes.
  bool sync_batch_norm = true;
  /// How the ranks exchange gradients.
  GradientExchange gradients = {};
};

}  // namespace sculpt
