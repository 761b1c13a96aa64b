// The needs of cases (tests/support/needs.h) are decided by the names of backends. Here they are
// compared with the backends.

#include "tests/support/needs.h"

#include <doctest/doctest.h>

namespace sculpt::test {
namespace {

TEST_CASE("needs: a case is skipped for exactly those backends that lack what the case needs") {
  for (const kernels::Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    CHECK((backend->sparse_conv2d.forward != nullptr) == needs_cpu().met);
    CHECK((backend->winograd.forward != nullptr) == needs_cpu().met);
    CHECK((backend->batch_norm.on_blocks.apply != nullptr) == needs_cpu().met);
    CHECK((backend->memory != nullptr) == needs_gpu().met);
    CHECK((backend->conv2d.output_sums_bytes != nullptr) == needs_gpu().met);
    CHECK((backend->compute_weight_bytes > 0) == needs_gpu().met);
    CHECK((backend->conv_norm.backward != nullptr) == needs_joint_passes().met);
  }
}

}  // namespace
}  // namespace sculpt::test
