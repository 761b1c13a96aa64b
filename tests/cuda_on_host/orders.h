#pragma once
// Runs something in several orders of threads and blocks; on a device, which has its own, once.

#include <cstdint>
#include <string>
#include <vector>

#if defined(SCULPT_CUDA_ON_HOST)
#include "cuda_on_host/grid.h"
#endif

namespace samples {

struct NamedOrder {
  std::string name;
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::Order order;
  uint64_t seed;
#endif
};

/// Forward, reverse and some shuffles.
inline std::vector<NamedOrder> all_orders() {
#if defined(SCULPT_CUDA_ON_HOST)
  std::vector<NamedOrder> orders = {{"forward", cuda_on_host::Order::kForward, 0},
                                    {"reverse", cuda_on_host::Order::kReverse, 0}};
  for (uint64_t seed = 1; seed <= 4; ++seed)
    orders.push_back({"shuffle " + std::to_string(seed), cuda_on_host::Order::kShuffle, seed});
  return orders;
#else
  return {{"the device's"}};
#endif
}

/// Counts the orders in which run() returns true.
template <class Run>
int count_orders(Run run) {
  int count = 0;
  for ([[maybe_unused]] const NamedOrder& order : all_orders()) {
#if defined(SCULPT_CUDA_ON_HOST)
    cuda_on_host::set_order(order.order, order.seed);
#endif
    count += run() ? 1 : 0;
  }
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::set_order(cuda_on_host::Order::kForward);
#endif
  return count;
}

}  // namespace samples
