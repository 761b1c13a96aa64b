#pragma once
// The interface that the loadable CUDA library offers to kernels/device/device.cpp. Including it
// does not require CUDA.

#include <string>
#include <vector>

#include "kernels/collectives.h"
#include "kernels/device/backend.h"
#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels::cuda {

/// The functions of kernels/cuda/device/backend.h, and the side stream.
struct Module {
  std::vector<const Backend*> (*backends)();
  const Backend* (*library_backend)(const Backend& native, const ConvLibrary&, Chooser&);
  void (*use_device)(int index);
  std::string (*why_unusable)(int index);
  std::string (*describe_device)(int index);
  int (*count_devices)();
  std::string (*bus_id)(int index);
  const SideStream& (*side_stream)();
};

using ModuleEntry = const Module* (*)();
/// The library's file, which lies beside the programs, and its one exported function.
inline constexpr const char* kModuleFile = "libsculpt_cuda.so";
inline constexpr const char* kModuleEntry = "sculpt_cuda_module";

}  // namespace sculpt::kernels::cuda
