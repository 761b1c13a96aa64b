#include <cstdlib>
#include <cstring>

#include "machine.h"

namespace cuda_on_host {
namespace {

// Releases the barrier if all threads of the block that have not exited have reached it.
void try_release_block() {
  if (machine.barrier.arrived + machine.num_exited != machine.num_threads) return;
  const Thread* first = nullptr;
  for (uint32_t i = 0; i < machine.num_threads; ++i) {
    Thread* thread = machine.in_order[i];
    if (thread->waits != Waits::kForBlock) continue;
    if (first == nullptr) first = thread;
    if (thread->line != first->line || strcmp(thread->file, first->file) != 0)
      fail_waiting("divergent barriers: the threads of a block are at different ones");
    push_ready_back(thread);
  }
  for (uint32_t i = 0; i < machine.num_threads; ++i)
    if (machine.threads[i].waits == Waits::kForBlock) machine.threads[i].waits = Waits::kNot;
  machine.barrier_result[machine.barrier_turn % 2] = machine.barrier;
  machine.barrier = {};
  ++machine.barrier_turn;
}

uint32_t token_slot(uint32_t mask) {
  return (mask ^ mask >> 8 ^ mask >> 16 ^ mask >> 24) % 4;
}

bool contains(uint32_t mask, const Thread& thread) {
  return (mask >> (thread.id % 32) & 1) != 0;
}

// Performs an operation of a warp and releases its lanes if all lanes of the mask of `like` have
// reached the operation. A lane may be at another operation whose mask shares lanes with this one.
// This operation then waits for the other one.
void try_release_warp(Warp& warp, const Thread& like) {
  const uint32_t mask = like.mask & ~warp.exited;
  if ((warp.waiting & mask) != mask) return;
  WarpExchange exchange{mask, {}};
  for (uint32_t i = 0; i < warp.num_lanes; ++i) {
    const Thread& lane = *warp.in_order[i];
    if (!contains(mask, lane)) continue;
    if (lane.mask != like.mask || lane.operation != like.operation) return;
    exchange.lane[lane.id % 32] = lane.data;
  }
  like.operation(exchange);
  warp.waiting &= ~mask;
  ++warp.turn[token_slot(like.mask)];
  for (uint32_t i = warp.num_lanes; i-- > 0;) {
    Thread* lane = warp.in_order[i];
    if (!contains(mask, *lane)) continue;
    lane->waits = Waits::kNot;
    push_ready_front(lane);  // a warp runs on before others start: fewer stacks are in use
  }
}

}  // namespace

void release_those_who_waited_for(const Thread& exited) {
  Warp& warp = machine.warps[exited.id / 32];
  warp.exited |= 1u << (exited.id % 32);
  for (uint32_t i = 0; warp.waiting != 0 && i < warp.num_lanes; ++i)
    if (warp.in_order[i]->waits == Waits::kForWarp) try_release_warp(warp, *warp.in_order[i]);
  if (machine.barrier.arrived != 0) try_release_block();
}

BarrierCount block_barrier(const char* what, bool predicate, const char* file, int line) {
  Thread& self = *machine.running;
  self.waits = Waits::kForBlock;
  self.what = what;
  self.file = file;
  self.line = line;
  self.mask = 0;
  const uint32_t turn = machine.barrier_turn % 2;
  release(&machine.barrier_token[turn]);
  ++machine.barrier.arrived;
  machine.barrier.nonzero += predicate;
  try_release_block();
  pause();
  acquire(&machine.barrier_token[turn]);
  return machine.barrier_result[turn];
}

void warp_rendezvous(const char* what, uint32_t mask, WarpOperation operation, void* data,
                     bool orders_memory, const char* file, int line) {
  Thread& self = *machine.running;
  self.waits = Waits::kForWarp;
  self.what = what;
  self.file = file;
  self.line = line;
  self.mask = mask;
  self.operation = operation;
  self.data = data;
  if (!contains(mask, self)) fail_waiting("a lane calls with a mask that does not contain it");
  Warp& warp = machine.warps[self.id / 32];
  const uint32_t slot = token_slot(mask);
  char* token = &warp.token[slot][warp.turn[slot] % 2];
  if (orders_memory) release(token);
  warp.waiting |= 1u << (self.id % 32);
  try_release_warp(warp, self);
  pause();
  if (orders_memory) acquire(token);
}

int lane() {
  return static_cast<int>(machine.running->id % 32);
}

void thread_fence() {
  machine.running->fenced = true;
}
bool thread_fenced() {
  return machine.running->fenced;
}

void async_copy_push(const AsyncCopy& copy) {
  AsyncCopies& copies = machine.running->copies;
  if (copies.entries == nullptr)
    copies.entries =
        static_cast<AsyncCopies::Entry*>(malloc(kMaxPendingCopies * sizeof(AsyncCopies::Entry)));
  if (copies.count == kMaxPendingCopies) fail("more cp.async are pending than there is room for");
  copies.entries[(copies.first + copies.count++) % kMaxPendingCopies] = {copy, copies.group};
}

void async_copy_commit() {
  ++machine.running->copies.group;
}

bool async_copy_pop(int groups, AsyncCopy* copy) {
  AsyncCopies& copies = machine.running->copies;
  if (copies.count == 0 || copies.entries[copies.first].group >= copies.group - groups)
    return false;
  *copy = copies.entries[copies.first].copy;
  copies.first = (copies.first + 1) % kMaxPendingCopies;
  --copies.count;
  return true;
}

}  // namespace cuda_on_host
