#pragma once
// The interface to the convolutions of NVIDIA's libraries, as the CUDA backend uses it. The
// library's side is a separate loadable module (kernels/cudnn); tests replace it by plain loops.
// Including it does not require CUDA.

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/conv2d.h"
#include "kernels/device/precision.h"

namespace sculpt::kernels::cuda {

/// One pass of a convolution without bias. Activations are NHWC. The weight and its gradient are in
/// the order O, kh, kw, I / groups. All arrays have the precision's element type.
struct LibraryProblem {
  Precision precision;
  ConvPass pass;
  Conv2dShape shape;
  int64_t batch;
  bool accumulate = false;  ///< input_grad: whether to add to the contents of dx
};

/// The way a library solves one problem. A plan is ready to run: running it neither searches nor
/// allocates device memory.
class LibraryPlan {
 public:
  virtual ~LibraryPlan() = default;
  virtual size_t workspace_bytes() const = 0;
  /// Returns true if the weight gradient is float even in bf16, which saves one rounding.
  virtual bool float_weight_grad() const = 0;
  /// forward: y from x and the weight; input_grad: dx from dy and the weight; weight_grad: dw from
  /// dy and x. `workspace` is 256-byte aligned, the other pointers 16-byte.
  virtual void run(void* out, const void* activation, const void* other, void* workspace,
                   void* stream) = 0;
};

struct ConvLibrary {
  /// "cuDNN 9.19.0, cuBLAS 13.1.0".
  std::string (*versions)();
  /// Creates what all plans share, on the current device. Throws Error if that fails.
  void (*start)();
  /// Returns null if the library cannot solve the problem deterministically within the workspace;
  /// `why_not` then says why.
  std::unique_ptr<LibraryPlan> (*plan)(const LibraryProblem&, size_t workspace_limit,
                                       std::string& why_not);
};

using ConvLibraryEntry = const ConvLibrary* (*)();
/// The module's file, which lies beside the programs, and its one exported function.
inline constexpr const char* kConvLibraryFile = "libsculpt_cudnn.so";
inline constexpr const char* kConvLibraryEntry = "sculpt_conv_library";

}  // namespace sculpt::kernels::cuda
