// The order of steps when blocks of images go through several nodes.

#include "engine/autograd/block_schedule.h"

#include <doctest/doctest.h>

namespace sculpt {
namespace {

ScheduledNode conv(int from, int to) {
  return {{from}, to, true, false};
}
ScheduledNode norm(std::vector<int> from, int to) {
  return {std::move(from), to, true, true};
}
ScheduledNode whole(int from, int to) {
  return {{from}, to, false, false};
}

Step run(int node) {
  return {node, false};
}
Step reduce(int node) {
  return {node, true};
}

TEST_CASE("block schedule: a chain waits where sums over the batch are needed") {
  // 0 conv 1 norm 2 conv 3 norm 4 pool 5
  const std::vector<ScheduledNode> nodes = {conv(0, 1), norm({1}, 2), conv(2, 3), norm({3}, 4),
                                            whole(4, 5)};
  CHECK(forward_groups(nodes) ==
        StepGroups{{run(0), reduce(1)}, {run(1), run(2), reduce(3)}, {run(3)}, {run(4)}});
  CHECK(backward_groups(nodes) ==
        StepGroups{{run(4)}, {reduce(3)}, {run(3), run(2), reduce(1)}, {run(1), run(0)}});
}

TEST_CASE("block schedule: a residual block with a convolution in its shortcut") {
  // main path: 0 conv1 1 norm1 2 conv2 3; shortcut: 0 conv 4 norm 5; norm2 of 3 with residual 5.
  const std::vector<ScheduledNode> nodes = {conv(0, 1), norm({1}, 2), conv(2, 3),
                                            conv(0, 4), norm({4}, 5), norm({3, 5}, 6)};
  CHECK(forward_groups(nodes) == StepGroups{{run(0), reduce(1)},
                                            {run(1), run(2), reduce(5), run(3), reduce(4)},
                                            {run(4), run(5)}});
  CHECK(backward_groups(nodes) == StepGroups{{reduce(5)},
                                             {run(5), reduce(4)},
                                             {run(4), run(3), run(2), reduce(1)},
                                             {run(1), run(0)}});
}

TEST_CASE("block schedule: a gradient is summed after its last writer") {
  // 1 is read by a convolution and, as a residual, by a later norm: backward, the convolution's
  // gradient comes last.
  const std::vector<ScheduledNode> nodes = {norm({0}, 1), conv(1, 2), norm({2, 1}, 3)};
  CHECK(backward_groups(nodes) == StepGroups{{reduce(2)}, {run(2), run(1), reduce(0)}, {run(0)}});
}

}  // namespace
}  // namespace sculpt
