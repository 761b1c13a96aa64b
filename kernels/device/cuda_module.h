#pragma once
// What the loadable CUDA library offers to kernels/device/device.cpp. Needs no CUDA to be included.

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
/// Its file, beside the programs, and its one exported function.
inline constexpr const char* kModuleFile = "libsculpt_cuda.so";
inline constexpr const char* kModuleEntry = "sculpt_cuda_module";

}  // namespace sculpt::kernels::cuda
