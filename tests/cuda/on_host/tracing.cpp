// Replaces kernels/cuda/device/tracing.cpp on the host layer. It checks that trace ranges nest, and
// remembers which ranges are open.

#include "tests/cuda/on_host/tracing.h"

#include "kernels/common/check.h"
#include "kernels/cuda/device/tracing.h"

namespace sculpt {
namespace {

std::vector<std::string>& open_ranges() {
  thread_local std::vector<std::string> names;
  return names;
}

void push(const char* name) {
  open_ranges().emplace_back(name);
}

void pop() {
  if (open_ranges().empty()) fail("a trace range ends that has not begun");
  open_ranges().pop_back();
}

}  // namespace

const std::vector<std::string>& test::open_trace_ranges() {
  return open_ranges();
}

kernels::TraceHooks kernels::cuda::trace_hooks() {
  return {push, pop, [] {}, [] {}};
}

}  // namespace sculpt
