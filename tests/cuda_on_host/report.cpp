#include <cstdio>
#include <cstdlib>

#include "machine.h"

namespace cuda_on_host {
namespace {

void print_heading(const char* message, const char* file = nullptr, int line = 0) {
  fprintf(stderr, "cuda_on_host: %s", message);
  if (file != nullptr) fprintf(stderr, " at %s:%d", file, line);
  fprintf(stderr, "\n  in kernel %s, grid (%u,%u,%u), block (%u,%u,%u), blockIdx (%u,%u,%u)\n",
          machine.kernel, gridDim.x, gridDim.y, gridDim.z, blockDim.x, blockDim.y, blockDim.z,
          blockIdx.x, blockIdx.y, blockIdx.z);
}

bool at_the_same_place(const Thread& a, const Thread& b) {
  if (a.waits != b.waits) return false;
  if (a.waits == Waits::kNot || a.waits == Waits::kExited) return true;
  return a.what == b.what && a.file == b.file && a.line == b.line && a.mask == b.mask;
}

void print_place(const Thread& thread) {
  switch (thread.waits) {
    case Waits::kNot:
      fprintf(stderr, "can run\n");
      return;
    case Waits::kExited:
      fprintf(stderr, "exited\n");
      return;
    case Waits::kForBlock:
      fprintf(stderr, "waits at %s", thread.what);
      break;
    case Waits::kForWarp:
      fprintf(stderr, "waits at %s with mask 0x%08x", thread.what, thread.mask);
      break;
  }
  if (thread.file != nullptr) fprintf(stderr, ", %s:%d", thread.file, thread.line);
  fputc('\n', stderr);
}

}  // namespace

void fail(const char* message, const char* file, int line) {
  print_heading(message, file, line);
  if (const Thread* thread = machine.running)
    fprintf(stderr, "  threadIdx (%u,%u,%u)\n", thread->index.x, thread->index.y, thread->index.z);
  fflush(stderr);
  abort();
}

void fail_waiting(const char* message) {
  print_heading(message);
  bool told[kMaxThreads] = {};
  for (uint32_t i = 0; i < machine.num_threads; ++i) {
    if (told[i]) continue;
    const Thread& first = machine.threads[i];
    uint32_t count = 0;
    for (uint32_t j = i; j < machine.num_threads; ++j) {
      if (!at_the_same_place(first, machine.threads[j])) continue;
      told[j] = true;
      ++count;
    }
    fprintf(stderr, "  %u thread%s, the first is (%u,%u,%u): ", count, count == 1 ? "" : "s",
            first.index.x, first.index.y, first.index.z);
    print_place(first);
  }
  fflush(stderr);
  abort();
}

}  // namespace cuda_on_host
