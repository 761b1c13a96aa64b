#include "engine/dist/operation.h"

#include <numeric>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

Operation::Operation(const std::string& own, std::vector<int64_t> sizes, std::string& all)
    : call_{CallKind::gather, 0}, own_(&own), all_(&all), sizes_(std::move(sizes)) {
  all.resize(static_cast<size_t>(std::accumulate(sizes_.begin(), sizes_.end(), int64_t{0})));
}

void Operation::complete(std::string problem) {
  problem_ = std::move(problem);
  done_.store(1, std::memory_order_release);
  done_.notify_all();
}

void Operation::wait() {
  done_.wait(0, std::memory_order_acquire);
  if (!problem_.empty()) fail("{}", problem_);
}

}  // namespace sculpt
