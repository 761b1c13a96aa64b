#include "kernels/cuda/device/backend.h"
#include "kernels/cuda/device/side_stream.h"
#include "kernels/device/cuda_module.h"

extern "C" const sculpt::kernels::cuda::Module* sculpt_cuda_module() {
  using namespace sculpt::kernels::cuda;
  static const Module module = {backends,        library_backend, use_device, why_unusable,
                                describe_device, count_devices,   bus_id,     side_stream};
  return &module;
}
