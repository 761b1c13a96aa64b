// Block schedules of small graphs, written out: the order of steps, and the values that stay in
// cache. blocks_properties_test.cpp checks random graphs.

#include <algorithm>
#include <doctest/doctest.h>
#include <vector>

#include "engine/autograd/blocks/schedule.h"

namespace sculpt {
namespace {

using Steps = std::vector<Step>;

ScheduledNode conv(int from, int to) {
  return {.inputs = {from},
          .output = to,
          .on_blocks = true,
          .weight_grad = true,
          .backward_reads = {from},
          .window = {3, 1, 1}};
}
ScheduledNode norm(std::vector<int> from, int to) {
  const bool residual = from.size() > 1;
  return {.inputs = from,
          .output = to,
          .on_blocks = true,
          .sums = true,
          .can_recompute = !residual,
          .backward_reads = {from[0]}};
}
ScheduledNode whole(int from, int to) {
  return {.inputs = {from}, .output = to, .backward_reads = {from}};
}

Step run(int node) {
  return {node, Work::run};
}
Step sum(int node) {
  return {node, Work::sum};
}
Step weight(int node) {
  return {node, Work::weight_grad};
}
Step recompute(int node) {
  return {node, Work::recompute};
}

/// Schedules nodes whose values have 16 rows in bands of 4 and are all large or all small.
BlockSchedule schedule_of(const std::vector<ScheduledNode>& nodes, bool large = false) {
  int values = 0;
  for (const ScheduledNode& node : nodes)
    values = std::max(values, node.output + 1);
  const ScheduledValue value = {16, 4, int64_t{1} << 20, large ? int64_t{8} << 20 : 1024};
  return schedule_blocks(nodes, std::vector(static_cast<size_t>(values), value));
}

std::vector<Steps> steps_of(const std::vector<StepGroup>& groups) {
  std::vector<Steps> steps;
  for (const StepGroup& group : groups)
    steps.push_back(group.steps);
  return steps;
}

/// The values 0 to 5 with the nodes between them: 0 conv 1 norm 2 conv 3 norm 4 pool 5.
std::vector<ScheduledNode> chain() {
  return {conv(0, 1), norm({1}, 2), conv(2, 3), norm({3}, 4), whole(4, 5)};
}

TEST_CASE("block schedule: a chain waits where sums over the batch are needed") {
  const BlockSchedule schedule = schedule_of(chain());
  CHECK(steps_of(schedule.forward) ==
        std::vector<Steps>{{run(0), sum(1)}, {run(1), run(2), sum(3)}, {run(3)}, {run(4)}});
  CHECK(steps_of(schedule.backward) ==
        std::vector<Steps>{{run(4)},
                           {sum(3)},
                           {recompute(1), run(3), weight(2), run(2), sum(1)},
                           {run(1), weight(0), run(0)}});
}

TEST_CASE("block schedule: a residual block with a convolution in its shortcut") {
  // The main path is 0 conv1 1 norm1 2 conv2 3, the shortcut is 0 conv 4 norm 5, and norm2 reads 3
  // with the residual 5.
  const std::vector<ScheduledNode> nodes = {conv(0, 1), norm({1}, 2), conv(2, 3),
                                            conv(0, 4), norm({4}, 5), norm({3, 5}, 6)};
  const BlockSchedule schedule = schedule_of(nodes);
  CHECK(steps_of(schedule.forward) == std::vector<Steps>{{run(0), sum(1)},
                                                         {run(1), run(2), sum(5), run(3), sum(4)},
                                                         {run(4), run(5)}});
  // No backward step reads the shortcut's output, so the schedule does not recompute it.
  CHECK(steps_of(schedule.backward) ==
        std::vector<Steps>{{sum(5)},
                           {run(5), sum(4)},
                           {recompute(1), run(4), weight(3), run(3), weight(2), run(2), sum(1)},
                           {run(1), weight(0), run(0)}});
  CHECK(schedule.forward[2].scratch == std::vector<ScratchValue>{{.value = 5}});
}

TEST_CASE("block schedule: a gradient is summed after its last writer") {
  // 1 is read by a convolution and, as a residual, by a later norm: backward, the convolution's
  // gradient comes last.
  const BlockSchedule schedule = schedule_of({norm({0}, 1), conv(1, 2), norm({2, 1}, 3)}, true);
  CHECK(steps_of(schedule.backward) ==
        std::vector<Steps>{{sum(2)}, {run(2), weight(1), run(1), sum(0)}, {run(0)}});
  // The forward pass of the last norm reads 1 in a group of its own: 1 must be whole.
  CHECK(schedule.forward[1].scratch ==
        std::vector<ScratchValue>{{.value = 1, .copied = true},
                                  {.value = 2, .copied = true, .band = true}});
}

TEST_CASE("block schedule: what one group writes and reads lives in scratch") {
  const BlockSchedule small = schedule_of(chain());
  CHECK(small.forward[0].scratch.empty());
  CHECK(small.forward[1].scratch == std::vector<ScratchValue>{{.value = 2}});
  CHECK(small.backward[2].scratch ==
        std::vector<ScratchValue>{{.value = 3, .gradient = true}, {.value = 2}});
  CHECK(small.backward[3].scratch == std::vector<ScratchValue>{{.value = 1, .gradient = true}});
}

TEST_CASE("block schedule: large activations for later groups are copied around the cache") {
  const BlockSchedule large = schedule_of(chain(), true);
  const ScratchValue one = {.value = 1, .copied = true, .band = true};
  const ScratchValue three = {.value = 3, .copied = true, .band = true};
  const ScratchValue gradient = {.value = 2, .gradient = true, .copied = true, .band = true};
  CHECK(large.forward[0].scratch == std::vector{one});
  CHECK(large.forward[1].scratch == std::vector{ScratchValue{.value = 2}, three});
  CHECK(large.backward[2].scratch == std::vector{ScratchValue{.value = 3, .gradient = true},
                                                 ScratchValue{.value = 2}, gradient});
}

TEST_CASE("block schedule: a residual's gradient that nobody reads yet goes around the cache") {
  // 0 conv 1 norm 2 conv 3 norm 4 conv 5 norm with residual 2: 6
  const std::vector<ScheduledNode> nodes = {conv(0, 1),   norm({1}, 2), conv(2, 3),
                                            norm({3}, 4), conv(4, 5),   norm({5, 2}, 6)};
  for (const bool large : {false, true}) {
    const BlockSchedule schedule = schedule_of(nodes, large);
    REQUIRE(schedule.backward[1].steps[1] == run(5));
    CHECK(schedule.backward[1].streamed == (large ? std::vector{2} : std::vector<int>{}));
  }
}

TEST_CASE("block schedule: an output that several groups read is kept") {
  // 2 is read by a convolution and by a pool, which runs on the whole batch.
  std::vector<ScheduledNode> nodes = chain();
  nodes.push_back(whole(2, 6));
  const BlockSchedule schedule = schedule_of(nodes);
  CHECK(schedule.forward[1].scratch.empty());
  for (const StepGroup& group : schedule.backward)
    CHECK(std::ranges::find(group.steps, recompute(1)) == group.steps.end());
}

TEST_CASE("block schedule: an output is not recomputed from another one that would have to be") {
  // 0 conv 1 norm 2 norm 3 conv 4
  const BlockSchedule schedule = schedule_of({conv(0, 1), norm({1}, 2), norm({2}, 3), conv(3, 4)});
  for (const StepGroup& group : schedule.backward)
    CHECK(std::ranges::find(group.steps, recompute(2)) == group.steps.end());
}

/// Returns true if a step writes or reads what `entry` holds.
bool uses(const Step& step, const ScheduledNode& node, const ScratchValue& entry, bool forward) {
  const bool input = std::ranges::find(node.inputs, entry.value) != node.inputs.end();
  if (forward)
    return step.work == Work::sum ? node.inputs[0] == entry.value
                                  : input || node.output == entry.value;
  return step.work == Work::run ? input || node.output == entry.value : node.output == entry.value;
}

TEST_CASE("block schedule: a band is read whole before the next one is written") {
  // A residual block with a strided convolution in its shortcut.
  std::vector<ScheduledNode> nodes = {conv(0, 1), norm({1}, 2),  conv(2, 3),   norm({3}, 4),
                                      conv(2, 5), norm({5}, 6),  conv(4, 7),   norm({7, 6}, 8),
                                      conv(8, 9), norm({9}, 10), whole(10, 11)};
  nodes[2].window = nodes[4].window = {3, 2, 1};
  std::vector<ScheduledValue> values(12, {16, 4, int64_t{1} << 20, int64_t{8} << 20});
  for (const size_t full : {0, 1, 2})
    values[full] = {32, 2, int64_t{4} << 20, int64_t{32} << 20};
  const BlockSchedule schedule = schedule_blocks(nodes, values);
  int bands = 0;
  for (const auto* groups : {&schedule.forward, &schedule.backward})
    for (const StepGroup& group : *groups)
      for (const ScratchValue& entry : group.scratch) {
        if (!entry.band) continue;
        ++bands;
        std::vector<int64_t> scratch(group.steps.size());
        std::vector<kernels::RowRange> ranges;
        run_bands(group.bands, group.rounds, scratch, [&](size_t s, kernels::RowRange rows) {
          const Step& step = group.steps[s];
          if (uses(step, nodes[static_cast<size_t>(step.node)], entry, groups == &schedule.forward))
            ranges.push_back(rows);
        });
        // Calls alternate: one writes rows, and the next one reads the same rows.
        REQUIRE(ranges.size() % 2 == 0);
        REQUIRE(ranges.size() > 2);
        for (size_t i = 0; i < ranges.size(); i += 2)
          CHECK(ranges[i] == ranges[i + 1]);
      }
  CHECK(bands >= 4);
}

}  // namespace
}  // namespace sculpt
