#pragma once
// Stands in for the CUDA toolkit's header of the same name where .cu files are compiled by a C++
// compiler (-x c++ -DSCULPT_CUDA_ON_HOST) and executed on the CPU, to test kernels without a GPU.
//
// What is reproduced
//   * Blocks run one after another; the threads of a block are fibers (fiber.h, grid.h). A thread
//     runs until it waits: at a barrier, at a warp operation or at its end. Which thread runs next
//     follows a chosen order (forward, reverse, or shuffled by a seed), so that code which lacks a
//     barrier gives a wrong answer in some order.
//   * Barriers of the block, operations of the warp with masks (shuffles, votes, __syncwarp),
//     integer atomics. Threads that have exited count as arrived, as they do since Volta. Barriers
//     reached from different lines, and threads that wait for each other, abort with a report.
//   * mma, ldmatrix and cp.async by their fragment layouts (ptx.h). A cp.async leaves garbage at
//     its destination until it is waited for.
//   * Memory from cudaMalloc has its exact size and, like dynamic shared memory at the start of a
//     block, holds garbage (a NaN as float, double or bf16).
//   * Under -fsanitize=address overruns are reported at the kernel's line. Under -fsanitize=thread
//     two threads of a block that access the same memory without a barrier between them are
//     reported as a data race. Only __syncwarp, barriers and atomics after __threadfence order
//     memory; shuffles and votes do not, as on the device.
//
// What is not
//   * Nothing happens between two waits of a thread: a lost update by a non-atomic increment shows
//     only under -fsanitize=thread. Blocks never run at the same time, and races between blocks
//     are not reported. A thread that spins on memory never returns.
//   * Static __shared__ memory starts as zeros and keeps its content from block to block.
//   * Streams do not compute at the same time. Their work is done piece by piece, in an order that
//     is chosen and that events bind (streams.h).
//   * Accuracy of __expf and the like, the order of additions inside mma, timing, caches, bank
//     conflicts, register limits.
// Floating-point atomics and grid-wide operations are left out on purpose.

#if !defined(SCULPT_CUDA_ON_HOST)
#error "This header replaces the CUDA toolkit's only for tests on the host"
#endif

#include "cuda_on_host/builtins.h"
#include "cuda_on_host/grid.h"
#include "cuda_on_host/ptx.h"
#include "cuda_on_host/runtime.h"
#include "cuda_on_host/streams.h"
#include "cuda_on_host/vector_types.h"
