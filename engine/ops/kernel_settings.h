#pragma once
// Layers with a weight choose their kernels by these settings. Every choice changes the last bits
// of results.

namespace sculpt {

namespace kernels {
class Chooser;
}

/// Selects the layers that run on kernels that skip masked weights, where the backend has such
/// kernels. `automatic`: the rule of engine/ops/kernel_rule.h decides for each pass. `tuned`: each
/// pass is timed. `on`: all layers with a masked weight run on such kernels. `off`: no layer does.
enum class SparseKernels { automatic, on, off, tuned };

struct KernelSettings {
  SparseKernels sparse = SparseKernels::automatic;
  /// True if dense 3x3 convolutions use Winograd's algorithm where the backend's table says that it
  /// is faster. Its rounding errors are larger (kernels/winograd.h).
  bool winograd = true;
  /// Times kernels for SparseKernels::tuned and remembers the faster ones. If null, the rule
  /// decides. Must outlive the layers.
  kernels::Chooser* chooser = nullptr;
};

}  // namespace sculpt
