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

TEST_CASE("memory plan: buffers alive at the same time never overlap, and geometries never mix") {
  constexpr int64_t kBlocks = 3;
  constexpr size_t kCell = 64;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    CAPTURE(seed);
    const RandomStream stream(seed, Purpose::test);
    std::vector<Request> requests;
    MemoryPlanner planner;
    for (uint64_t i = 0; i < 40; ++i) {
      const auto size = static_cast<int64_t>(2 + stream.below(4 * i, 3));
      const auto first = static_cast<int>(stream.below(4 * i + 1, 50));
      const Request r{{static_cast<int64_t>(1 + stream.below(4 * i + 2, 9)), size, size, size % 2},
                      {first, first + static_cast<int>(stream.below(4 * i + 3, 12))}};
      requests.push_back(r);
      CHECK(planner.request(r.shape, r.lifetime) == static_cast<int>(i));
    }
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
        // Sharing is only safe where zero borders coincide.
        CHECK(offsets[i] == offsets[j]);
        CHECK(a.shape.height == b.shape.height);
        CHECK(a.shape.halo == b.shape.halo);
      }
    }
    CHECK(planner.total_bytes() < separate);
  }
}

}  // namespace
}  // namespace sculpt
