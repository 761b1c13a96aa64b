#pragma once
// Convolutions of NVIDIA's libraries, as the CUDA backend asks for them. The library's side is a
// loadable module of its own (kernels/cudnn); tests put plain loops in its place. Needs no CUDA to
// be included.

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/conv2d.h"
#include "kernels/device/precision.h"

namespace sculpt::kernels::cuda {

/// One pass of a convolution without bias. Activations are NHWC; the weight and its gradient are in
/// the order O, kh, kw, I / groups. All of the precision's element type.
struct LibraryProblem {
  Precision precision;
  ConvPass pass;
  Conv2dShape shape;
  int64_t batch;
  bool accumulate = false;  ///< input_grad: adds to what dx holds
};

/// How a library solves one problem; ready to run: no search, no memory of the device.
class LibraryPlan {
 public:
  virtual ~LibraryPlan() = default;
  virtual size_t workspace_bytes() const = 0;
  /// The weight gradient is float even in bf16: rounded once less.
  virtual bool float_weight_grad() const = 0;
  /// forward: y from x and the weight; input_grad: dx from dy and the weight; weight_grad: dw from
  /// dy and x. `workspace` is 256-byte aligned, the other pointers 16-byte.
  virtual void run(void* out, const void* activation, const void* other, void* workspace,
                   void* stream) = 0;
};

struct ConvLibrary {
  /// "cuDNN 9.19.0, cuBLAS 13.1.0".
  std::string (*versions)();
  /// Makes what all plans share, on the current device. Throws Error if that cannot be.
  void (*start)();
  /// Null if the library cannot do it deterministically within the workspace; then says why not.
  std::unique_ptr<LibraryPlan> (*plan)(const LibraryProblem&, size_t workspace_limit,
                                       std::string& why_not);
};

using ConvLibraryEntry = const ConvLibrary* (*)();
/// The module's file, beside the programs, and its one exported function.
inline constexpr const char* kConvLibraryFile = "libsculpt_cudnn.so";
inline constexpr const char* kConvLibraryEntry = "sculpt_conv_library";

}  // namespace sculpt::kernels::cuda
