// The backends of this machine's GPU, from the libraries that programs load too.

#include <string>

#include "kernels/device/device.h"
#include "tests/support/more_backends.h"

namespace sculpt::test {

/// "cuda-PRECISION" or "cuda-PRECISION-CONV".
std::vector<const kernels::Backend*> more_backends(std::string_view name) {
  std::vector<const kernels::Backend*> backends;
  for (const char* precision : {"fp32", "tf32", "bf16"})
    for (const char* conv : {"native", "cudnn", "auto"})
      if (conv == std::string_view("native") || name.ends_with(conv))
        backends.push_back(kernels::open_device("cuda", precision, conv).backend);
  return backends;
}

const kernels::Choices& choices_for_cudnn() {
  return kernels::open_device("cuda", "auto", "cudnn").chooser->made();
}

}  // namespace sculpt::test
