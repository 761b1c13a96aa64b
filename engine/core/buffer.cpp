#include "engine/core/buffer.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "engine/core/error.h"

namespace sculpt {
namespace {

std::atomic<size_t> live{0};

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCacheLine = 64;

size_t round_up(size_t n, size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

Buffer::Buffer(size_t bytes, const char* what) {
  if (bytes == 0) return;
  const bool large = bytes >= kHugePage;
  const size_t alignment = large ? kHugePage : kCacheLine;
  const size_t size = round_up(bytes, alignment);
  data_ = static_cast<std::byte*>(std::aligned_alloc(alignment, size));
  if (!data_)
    fail(
        "out of memory: {} needs {:.1f} MiB and {:.1f} MiB are in use; use a smaller train.batch "
        "or model",
        what, static_cast<double>(bytes) / (1 << 20),
        static_cast<double>(live_bytes()) / (1 << 20));
#ifdef MADV_HUGEPAGE
  // Strided walks over large activations miss the TLB on 4 KiB pages.
  if (large) madvise(data_, size, MADV_HUGEPAGE);
#endif
  bytes_ = bytes;
  live += bytes;
  zero();
}

Buffer::~Buffer() {
  if (!data_) return;
  std::free(data_);
  live -= bytes_;
}

void Buffer::zero() {
  if (data_) std::memset(data_, 0, bytes_);
}

size_t Buffer::live_bytes() {
  return live;
}

}  // namespace sculpt
