#include "engine/autograd/memory_plan.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <vector>

#include "engine/core/random.h"

namespace sculpt {
namespace {

using kernels::ActivationShape;

struct Request {
  ActivationShape shape;
  Lifetime lifetime;
};

/// Returns requests of several sizes. Some of them have a border if `borders` is true.
std::vector<Request> random_requests(uint64_t seed, bool borders) {
  const RandomStream stream(seed, Purpose::test);
  std::vector<Request> requests;
  for (uint64_t i = 0; i < 40; ++i) {
    const auto size = static_cast<int64_t>(2 + stream.below(4 * i, 3));
    const auto channels = static_cast<int64_t>(1 + stream.below(4 * i + 2, 9));
    const auto first = static_cast<int>(stream.below(4 * i + 1, 50));
    const auto last = first + static_cast<int>(stream.below(4 * i + 3, 12));
    requests.push_back({{channels, size, size, borders ? size % 2 : 0}, {first, last}});
  }
  return requests;
}

/// Returns the bytes that are in use at the busiest time. No plan needs fewer bytes.
size_t least_bytes(const std::vector<Request>& requests, int64_t blocks, size_t cell) {
  size_t most = 0;
  for (int time = 0; time < 70; ++time) {
    size_t bytes = 0;
    for (const Request& r : requests)
      if (r.lifetime.first <= time && time <= r.lifetime.last)
        bytes += static_cast<size_t>(r.shape.buffer_cells(blocks)) * cell;
    most = std::max(most, bytes);
  }
  return most;
}

TEST_CASE("memory plan: buffers alive at the same time never overlap, and borders never mix") {
  constexpr int64_t kBlocks = 3;
  constexpr size_t kCell = 64;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    const bool borders = seed % 2 == 0;
    const std::vector<Request> requests = random_requests(seed, borders);
    MemoryPlanner planner;
    for (size_t i = 0; i < requests.size(); ++i)
      CHECK(planner.request(requests[i].shape, requests[i].lifetime) == static_cast<int>(i));
    const auto offsets = planner.place(kBlocks, kCell);
    auto end = [&](size_t i) {
      return offsets[i] + static_cast<size_t>(requests[i].shape.buffer_cells(kBlocks)) * kCell;
    };
    size_t separate = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      CHECK(end(i) <= planner.total_bytes());
      CHECK(offsets[i] % 64 == 0);
      separate += end(i) - offsets[i];
      for (size_t j = 0; j < i; ++j) {
        const bool overlap = offsets[i] < end(j) && offsets[j] < end(i);
        if (!overlap) continue;
        const auto& a = requests[i];
        const auto& b = requests[j];
        CHECK((a.lifetime.last < b.lifetime.first || b.lifetime.last < a.lifetime.first));
        if (!borders) continue;
        // Sharing is only safe where zero borders coincide.
        CHECK(offsets[i] == offsets[j]);
        CHECK(a.shape.height == b.shape.height);
        CHECK(a.shape.halo == b.shape.halo);
      }
    }
    CHECK(planner.total_bytes() < separate);
    const size_t least = least_bytes(requests, kBlocks, kCell);
    CHECK(planner.total_bytes() >= least);
    if (!borders) CHECK(planner.total_bytes() < least + least / 3);
  }
}

}  // namespace
}  // namespace sculpt
