#include "kernels/cuda/module.h"

#include "kernels/cuda/backend.h"

extern "C" const sculpt::kernels::cuda::Module* sculpt_cuda_module() {
  using namespace sculpt::kernels::cuda;
  static const Module module = {backends, library_backend, use_device, why_unusable,
                                describe_device};
  return &module;
}
