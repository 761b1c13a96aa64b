#include "tests/support/more_backends.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> more_backends() {
  return {};
}

}  // namespace sculpt::test
