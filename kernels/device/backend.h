#pragma once
// A backend is a table of kernels plus the layout they share. Ops pick kernels from the table and
// know nothing else about the device.

#include <string_view>
#include <vector>

#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/conv_norm.h"
#include "kernels/device/memory.h"
#include "kernels/device/recording.h"
#include "kernels/device/tracing.h"
#include "kernels/elementwise.h"
#include "kernels/gradients.h"
#include "kernels/input.h"
#include "kernels/linear.h"
#include "kernels/loss.h"
#include "kernels/masked_update.h"
#include "kernels/pooling.h"
#include "kernels/pruning.h"
#include "kernels/ranking.h"
#include "kernels/soft_threshold.h"
#include "kernels/sparse_conv2d.h"
#include "kernels/winograd.h"

namespace sculpt::kernels {

struct Backend {
  std::string_view name;  ///< "cpu-avx512", "cuda-bf16", ..., "reference"
  Layout layout = Layout::blocked;
  int64_t lanes = 1;            ///< images innermost in the blocked layout; 1 in nhwc
  size_t activation_bytes = 4;  ///< bytes of an activation: 2 = bf16, 4 = float, 8 = double
  size_t parameter_bytes = 4;   ///< bytes of a parameter or statistic: 4 or 8
  /// Bytes of an element of the weights' compute copy. Convolutions and linear layers then read
  /// this copy instead of the parameter, in the order O, kh, kw, I/groups. 0 if the backend has no
  /// compute copy.
  size_t compute_weight_bytes = 0;
  /// The memory that all kernel arguments point into. Null where kernels work on the host's memory.
  const DeviceMemory* memory = nullptr;
  void* stream = nullptr;  ///< for kernels::Launch
  /// The backend of the same device and memory that computes in float throughout; null on the CPU.
  const Backend* full_precision = nullptr;

  Conv2dKernels conv2d;
  SparseConv2dKernels sparse_conv2d = {};  ///< null pointers if the backend has none
  WinogradKernels winograd = {};           ///< null pointers if the backend has none
  LinearKernels linear;
  BatchNormKernels batch_norm;
  ConvNormKernels conv_norm = {};  ///< null pointers if the backend has none
  ElementwiseKernels elementwise;
  PoolingKernels pooling;
  LossKernels loss;
  InputKernels input;
  MaskedUpdateKernels masked_update;
  SoftThresholdKernels soft_threshold;
  GradientKernels gradients;
  PruningKernels pruning;
  RankingKernels ranking;

  TraceHooks trace = {};          ///< null on the CPU
  RecordingHooks recording = {};  ///< null on the CPU

  /// Runs independent multiply-adds in registers on the calling thread and returns the FLOPs done:
  /// the compute ceiling of benchmarks. Null on the reference backend.
  double (*fma_probe)(int64_t iterations) = nullptr;

  int64_t blocks(int64_t batch) const { return ceil_div(batch, lanes); }
};

/// Returns the fastest CPU backend that this machine can run. The environment variable
/// SCULPT_CPU_ISA (avx512, avx2, portable) selects another one. Throws Error if the machine cannot
/// run it.
const Backend& cpu_backend();

/// Every CPU backend that this machine can run, fastest first. For tests and benchmarks.
std::vector<const Backend*> available_cpu_backends();

/// Plain loops in double, with one image innermost. It is the specification that the other backends
/// are tested against, and has the range of values that SynFlow needs.
const Backend& reference_backend();

}  // namespace sculpt::kernels
