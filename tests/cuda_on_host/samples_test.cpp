// Typical kernels are right in every order of threads; without a barrier or a wait they are wrong
// in at least one.

#include <doctest/doctest.h>

#include "cuda_on_host/sanitizers.h"
#include "orders.h"
#include "sample_runs.h"

namespace {

using namespace samples;

const int kNumOrders = static_cast<int>(all_orders().size());

TEST_CASE("samples: typical kernels are right in every order") {
  CHECK(count_orders(block_sum_is_right<>) == kNumOrders);
  CHECK(count_orders(tiled_gemm_is_right<>) == kNumOrders);
  CHECK(count_orders(block_scan_is_right<>) == kNumOrders);
  CHECK(count_orders(radix_histogram_is_right<>) == kNumOrders);
  CHECK(count_orders(column_sums_are_right<>) == kNumOrders);
}

// The sanitizers would end this process: tests/cuda_on_host/mutants shows what they report.
#if !defined(CUDA_ON_HOST_TSAN)
TEST_CASE("samples: a kernel without its barrier is wrong in some order") {
  CHECK(count_orders(block_sum_is_right<Mutation::kNoBarrier>) < kNumOrders);
  CHECK(count_orders(tiled_gemm_is_right<Mutation::kNoBarrier>) < kNumOrders);
  CHECK(count_orders(block_scan_is_right<Mutation::kNoBarrier>) < kNumOrders);
  CHECK(count_orders(radix_histogram_is_right<Mutation::kNoBarrier>) < kNumOrders);
  CHECK(count_orders(column_sums_are_right<Mutation::kNoBarrier>) < kNumOrders);
}

TEST_CASE(
    "samples: a kernel that does not wait for its asynchronous copies is wrong in every order") {
  CHECK(count_orders(column_sums_are_right<Mutation::kNoWait>) == 0);
}
#endif

TEST_CASE("samples: the block that finishes last sees what the others wrote") {
  constexpr int kBlocks = 9;
  const std::vector<float> x = small_values(2 * kBlocks, 5);
  float expected = 0.0f;
  for (const float value : x)
    expected += value;
  CHECK(count_orders([&] {
          DeviceArray<float> device_x(x), sums(x.size()), total(1);
          DeviceArray<unsigned> num_done(std::vector<unsigned>{0});
          SCULPT_LAUNCH(last_block_sum, kBlocks, 64, 0, nullptr, device_x.data(), sums.data(),
                        num_done.data(), total.data());
          return total.read()[0] == expected;
        }) == kNumOrders);
}

}  // namespace
