#pragma once
// Runs the threads of a grid as fibers on the CPU, and what those threads wait for.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cuda_on_host/capture.h"
#include "cuda_on_host/runtime.h"
#include "cuda_on_host/streams.h"
#include "cuda_on_host/vector_types.h"

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

namespace cuda_on_host {

/// The order in which blocks run, and the threads of a block between two barriers.
enum class Order { kForward, kReverse, kShuffle };

/// Sets the order of later launches; kShuffle permutes anew for every block, by `seed`. Until it is
/// called the environment decides: SCULPT_HOST_ORDER=forward|reverse|shuffle:SEED (forward if
/// unset).
void set_order(Order order, uint64_t seed = 0);

namespace detail {
/// Throws std::invalid_argument where a device would refuse the launch.
void check_launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes);
void note_first_launch(const char* kernel);
void run_grid(const char* kernel, const void* function, dim3 grid, dim3 block, size_t shared_bytes,
              void (*body)(void*), void* arguments);
}  // namespace detail

/// Puts a launch on a stream, which calls body() once for each thread of the grid. While `stream`
/// is being captured, it does so when the graph is launched. Throws std::invalid_argument where a
/// device would refuse the launch; aborts the process, naming the kernel, where its threads could
/// not go on. During a survey only some blocks run. `function` is the address of the kernel, by
/// which a survey tells the instances of a template apart.
template <class Body>
void run_grid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, void* stream,
              Body body, const void* function = nullptr) {
  auto run = [=, body = std::move(body)]() mutable {
    detail::run_grid(
        kernel, function, grid, block, shared_bytes, [](void* b) { (*static_cast<Body*>(b))(); },
        &body);
  };
  if (refuses_launch(stream)) return;
  detail::check_launch(kernel, grid, block, shared_bytes);
  if (is_captured(kernel, stream)) return capture_launch(kernel, stream, run);
  detail::note_first_launch(kernel);
  put(kernel, stream, [run]() mutable {
    run();
    return true;
  });
}

/// Counts the launches so far of the kernels whose names, as the launches spell them, contain
/// `kernel`.
size_t launches_of(const char* kernel);
/// Returns true if a kernel of exactly that name was launched, and not only captured.
bool was_launched(const char* kernel);

/// Dynamic shared memory of the running block.
void* dynamic_shared();

/// Fills memory with 0x7fff words: a NaN as float, double and bf16, a large number as an integer.
void fill_with_garbage(void* memory, size_t bytes);

// What the builtins are made of --------------------------------------------------------------

/// Lane of the running thread in its warp.
int lane();

/// Counts of the threads that came to a barrier of the block.
struct BarrierCount {
  int arrived;
  int nonzero;  // threads that came with a predicate that is not 0
};
BarrierCount block_barrier(const char* what, bool predicate, const char* file, int line);

/// The operands that the lanes of a mask pass to an operation of their warp. A lane that does not
/// take part has a null pointer.
struct WarpExchange {
  uint32_t mask;
  void* lane[32];
};
using WarpOperation = void (*)(WarpExchange&);

/// Waits until the lanes of `mask` that have not exited came to the same operation; the last one
/// performs it on what all of them brought.
void warp_rendezvous(const char* what, uint32_t mask, WarpOperation operation, void* data,
                     bool orders_memory, const char* file, int line);

/// Returns true if the running thread has passed a __threadfence.
void thread_fence();
bool thread_fenced();

/// A copy by cp.async that waits to be performed.
struct AsyncCopy {
  void* shared;
  alignas(16) unsigned char data[16];
};
void async_copy_push(const AsyncCopy& copy);
void async_copy_commit();
/// Takes the oldest copy that does not belong to the `groups` latest groups. Returns false if there
/// is no such copy.
bool async_copy_pop(int groups, AsyncCopy* copy);

/// Ends the process with a report that names kernel, block and thread.
[[noreturn]] void fail(const char* message, const char* file = nullptr, int line = 0);

}  // namespace cuda_on_host
