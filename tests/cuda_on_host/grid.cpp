#include "cuda_on_host/grid.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "machine.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace cuda_on_host {

Machine& machine = *new Machine;  // never destroyed: fibers outlive static objects

namespace {

// GPUs of compute capability 8.6, 8.9 and 12.0 have this much for a block. All others have more.
constexpr size_t kMaxSharedBytes = 99 << 10;
constexpr uint32_t kSurveyedBlocks = 8;

struct Schedule {
  Order order = Order::kForward;
  uint64_t seed = 0;
  bool chosen = false;
  uint64_t num_launches = 0;
};
Schedule schedule;

// SplitMix64.
struct Random {
  uint64_t state;
  uint32_t below(uint32_t bound) {
    uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return static_cast<uint32_t>((z >> 32) * bound >> 32);
  }
  template <class T>
  void shuffle(T* items, uint32_t count) {
    for (uint32_t i = count; i > 1; --i)
      std::swap(items[i - 1], items[below(i)]);
  }
};

void read_order_of_environment() {
  schedule.chosen = true;
  const char* text = getenv("SCULPT_HOST_ORDER");
  if (text == nullptr) return;
  const std::string order = text;
  const std::string shuffle = "shuffle:";
  if (order == "forward") {
    schedule.order = Order::kForward;
  } else if (order == "reverse") {
    schedule.order = Order::kReverse;
  } else if (order.rfind(shuffle, 0) == 0) {
    schedule.order = Order::kShuffle;
    schedule.seed = std::stoull(order.substr(shuffle.size()));
  } else {
    throw std::invalid_argument("SCULPT_HOST_ORDER=" + order +
                                ": expected forward, reverse or shuffle:SEED");
  }
}

std::string text_of(dim3 d) {
  return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
}

void number_threads(dim3 block) {
  machine.num_threads = block.x * block.y * block.z;
  uint32_t id = 0;
  for (uint32_t z = 0; z < block.z; ++z)
    for (uint32_t y = 0; y < block.y; ++y)
      for (uint32_t x = 0; x < block.x; ++x, ++id) {
        machine.threads[id].index = {x, y, z};
        machine.threads[id].id = id;
        machine.in_order[id] = &machine.threads[id];
      }
  if (schedule.order == Order::kReverse)
    std::reverse(machine.in_order, machine.in_order + machine.num_threads);
}

void run_block(Random& random) {
  const uint32_t num_threads = machine.num_threads;
  if (schedule.order == Order::kShuffle) random.shuffle(machine.in_order, num_threads);
  const uint32_t num_warps = (num_threads + 31) / 32;
  for (uint32_t w = 0; w < num_warps; ++w)
    machine.warps[w].waiting = machine.warps[w].exited = machine.warps[w].num_lanes = 0;
  if (num_threads % 32 != 0) machine.warps[num_warps - 1].exited = ~0u << (num_threads % 32);
  machine.num_exited = 0;
  machine.barrier = {};
  machine.ready_first = machine.ready_count = 0;
  for (uint32_t i = 0; i < num_threads; ++i) {
    Thread* thread = machine.in_order[i];
    thread->fiber = nullptr;
    thread->waits = Waits::kNot;
    thread->fenced = false;
    thread->copies.first = thread->copies.count = thread->copies.group = 0;
    Warp& warp = machine.warps[thread->id / 32];
    warp.in_order[warp.num_lanes++] = thread;
    push_ready_back(thread);
  }
  fill_with_garbage(machine.dynamic_shared, machine.dynamic_shared_bytes);
  run_threads();
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  const std::lock_guard lock(machine.mutex);
  schedule = {order, seed, true, 0};
}

void detail::check_launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  const auto refuse = [kernel](const std::string& what) {
    throw std::invalid_argument(kernel + (": " + what));
  };
  const uint64_t num_threads = uint64_t{block.x} * block.y * block.z;
  if (num_threads == 0 || num_threads > kMaxThreads || block.z > 64)
    refuse("a block of " + text_of(block) + " threads");
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    refuse("a grid of " + text_of(grid) + " blocks");
  if (uint64_t{grid.x} * grid.y * grid.z > 0xffffffffu) refuse("grid too large");
  if (shared_bytes > kMaxSharedBytes)
    refuse(std::to_string(shared_bytes) + " bytes of dynamic shared memory");
}

void detail::run_grid(const char* kernel, const void* function, dim3 grid, dim3 block,
                      size_t shared_bytes, void (*body)(void*), void* arguments) {
  const uint64_t num_blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (num_blocks == 0) return;
  const std::lock_guard lock(machine.mutex);
  note_launch(kernel);
  if (!schedule.chosen) read_order_of_environment();
  Random random{schedule.seed * 0x100000001b3ull + schedule.num_launches++};

  machine.kernel = kernel;
  machine.body = body;
  machine.arguments = arguments;
  machine.host.adopt_host();
  gridDim = grid;
  blockDim = block;
  number_threads(block);
  // An allocation of its own, so that AddressSanitizer knows where it ends.
  const std::unique_ptr<void, void (*)(void*)> shared(malloc(shared_bytes), free);
  if (shared == nullptr) throw std::bad_alloc();
  machine.dynamic_shared = shared.get();
  machine.dynamic_shared_bytes = shared_bytes;

  const auto run = [&](uint64_t b) {
    blockIdx = {static_cast<uint32_t>(b % grid.x), static_cast<uint32_t>(b / grid.x % grid.y),
                static_cast<uint32_t>(b / grid.x / grid.y)};
    run_block(random);
  };
  if (is_surveying()) {
    const uint32_t samples = static_cast<uint32_t>(std::min<uint64_t>(num_blocks, kSurveyedBlocks));
    take_counted_work();
    for (uint32_t i = 0; i < samples; ++i)
      run((2 * i + 1) * num_blocks / (2 * samples));
    tell_observer({kernel, function, grid, block, shared_bytes, samples, take_counted_work()});
  } else {
    std::vector<uint32_t> shuffled;
    if (schedule.order == Order::kShuffle) {
      shuffled.resize(num_blocks);
      std::iota(shuffled.begin(), shuffled.end(), 0u);
      random.shuffle(shuffled.data(), static_cast<uint32_t>(num_blocks));
    }
    for (uint64_t i = 0; i < num_blocks; ++i) {
      uint64_t b = i;
      if (schedule.order == Order::kReverse) b = num_blocks - 1 - i;
      if (schedule.order == Order::kShuffle) b = shuffled[i];
      run(b);
    }
  }
  machine.dynamic_shared = nullptr;
  machine.dynamic_shared_bytes = 0;
}

void* dynamic_shared() {
  return machine.dynamic_shared;
}

void fill_with_garbage(void* memory, size_t bytes) {
  auto* to = static_cast<unsigned char*>(memory);
  constexpr uint64_t kWord = 0x7fff7fff7fff7fffull;
  size_t i = 0;
  for (; i + sizeof(kWord) <= bytes; i += sizeof(kWord))
    memcpy(to + i, &kWord, sizeof(kWord));
  for (; i < bytes; ++i)
    to[i] = i % 2 == 0 ? 0xff : 0x7f;
}

}  // namespace cuda_on_host
