// sculpt_bench measures the time of each kernel of a network on the device.

#include "apps/sculpt_bench/kernel_times.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "tests/support/tested_backends.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace sculpt;

TEST_CASE("kernel times: every kernel of a step and of a prune is timed, with its floor") {
  const kernels::Backend& backend = *test::tested_backends().front();
  constexpr int64_t kBatch = 8;
  Network network(testing::tiny_spec(), backend, kBatch);
  network.initialise(1);
  const auto rows = bench::time_kernels(network, 0);
  const auto find = [&](const char* kernel, const char* part) {
    const auto found = std::ranges::find_if(rows, [&](const bench::KernelTime& row) {
      return row.kernel == kernel && row.shape.find(part) != std::string::npos;
    });
    REQUIRE(found != rows.end());
    CHECK(found->seconds > 0);
    return *found;
  };
  const auto bytes = static_cast<double>(backend.activation_bytes);
  const auto forward = find("conv2d, forward", "5x5x6 -> 7x3x3, weight 7x5x3x3");
  CHECK(forward.calls == 1);
  CHECK(forward.cost.flops == 2.0 * kBatch * 7 * 5 * 9 * 9);
  CHECK(forward.cost.bytes == bytes * kBatch * (5 * 5 * 6 + 7 * 3 * 3));
  CHECK(find("conv2d, backward", "5x5x6 -> 7x3x3").cost.flops == 2 * forward.cost.flops);
  for (const char* op : {"batch_norm, forward", "batch_norm, backward", "linear, forward",
                         "linear, backward", "softmax_cross_entropy, forward", "masked SGD"})
    CHECK(find(op, "").calls == 1);
  for (const char* op : {"magnitude scores", "ranking, global", "ranking, per layer"})
    CHECK(find(op, "").calls == 0);
}

}  // namespace
