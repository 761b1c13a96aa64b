// The backends of this machine's GPU, from the library that programs load too.

#include "kernels/device.h"
#include "tests/support/more_backends.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> more_backends() {
  std::vector<const kernels::Backend*> backends;
  for (const char* precision : {"fp32", "tf32", "bf16"})
    backends.push_back(kernels::open_device("cuda", precision).backend);
  return backends;
}

}  // namespace sculpt::test
