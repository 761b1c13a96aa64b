#pragma once
// The interface that the loadable CUDA library offers to kernels/device/device.cpp. Including it
// does not require CUDA.

#include <string>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels::cuda {

/// The functions of kernels/cuda/device/backend.h.
struct Module {
  std::vector<const Backend*> (*backends)();
  const Backend* (*library_backend)(const Backend& native, const ConvLibrary&, Chooser&);
  void (*use_device)(int index);
  std::string (*why_unusable)(int index);
  std::string (*describe_device)(int index);
};

using ModuleEntry = const Module* (*)();
/// The library's file, which lies beside the programs, and its one exported function.
inline constexpr const char* kModuleFile = "libsculpt_cuda.so";
inline constexpr const char* kModuleEntry = "sculpt_cuda_module";

}  // namespace sculpt::kernels::cuda
