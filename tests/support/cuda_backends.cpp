#include "kernels/cuda/device/backend.h"
#include "tests/support/more_backends.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> more_backends(std::string_view) {
  return kernels::cuda::backends();
}

const kernels::Choices& choices_for_cudnn() {
  static const kernels::Choices none;
  return none;
}

}  // namespace sculpt::test
