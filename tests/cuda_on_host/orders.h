#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_on_host/grid.h"

namespace samples {

struct NamedOrder {
  std::string name;
  cuda_on_host::Order order;
  uint64_t seed;
};

/// Forward, reverse and some shuffles.
inline std::vector<NamedOrder> all_orders() {
  std::vector<NamedOrder> orders = {{"forward", cuda_on_host::Order::kForward, 0},
                                    {"reverse", cuda_on_host::Order::kReverse, 0}};
  for (uint64_t seed = 1; seed <= 4; ++seed)
    orders.push_back({"shuffle " + std::to_string(seed), cuda_on_host::Order::kShuffle, seed});
  return orders;
}

/// In how many orders run() returns true.
template <class Run>
int count_orders(Run run) {
  int count = 0;
  for (const NamedOrder& order : all_orders()) {
    cuda_on_host::set_order(order.order, order.seed);
    count += run() ? 1 : 0;
  }
  cuda_on_host::set_order(cuda_on_host::Order::kForward);
  return count;
}

}  // namespace samples
