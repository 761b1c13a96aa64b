// The backends whose convolutions are a library's, for suites on the host layer.

#include "kernels/cuda/device/backend.h"
#include "tests/cuda/on_host/loop_library.h"
#include "tests/support/more_backends.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> more_backends(std::string_view) {
  std::vector<const kernels::Backend*> backends = kernels::cuda::backends();
  for (const kernels::Backend* native : kernels::cuda::backends())
    backends.push_back(kernels::cuda::library_backend(*native, loop_library(), loop_chooser()));
  return backends;
}

const kernels::Choices& choices_for_cudnn() {
  return loop_chooser().made();
}

}  // namespace sculpt::test
