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

std::byte* allocate_host(size_t bytes) {
  const bool large = bytes >= kHugePage;
  const size_t alignment = large ? kHugePage : kCacheLine;
  const size_t size = round_up(bytes, alignment);
  void* data = std::aligned_alloc(alignment, size);
#ifdef MADV_HUGEPAGE
  // Strided walks over large activations miss the TLB on 4 KiB pages.
  if (large && data) madvise(data, size, MADV_HUGEPAGE);
#endif
  return static_cast<std::byte*>(data);
}

double mebibytes(size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

Buffer::Buffer(size_t bytes, const char* what, const kernels::DeviceMemory* memory)
    : memory_(memory) {
  if (bytes == 0) return;
  data_ = memory ? static_cast<std::byte*>(memory->allocate(bytes)) : allocate_host(bytes);
  if (!data_)
    fail(
        "out of {}memory: {} needs {:.1f} MiB and {:.1f} MiB are in use; use a smaller train.batch "
        "or model",
        memory ? "GPU " : "", what, mebibytes(bytes), mebibytes(live_bytes()));
  bytes_ = bytes;
  live += bytes;
  zero();
}

Buffer::~Buffer() {
  if (!data_) return;
  memory_ ? memory_->free(data_) : std::free(data_);
  live -= bytes_;
}

void Buffer::zero() {
  if (!data_) return;
  if (memory_)
    memory_->zero(data_, bytes_);
  else
    std::memset(data_, 0, bytes_);
}

size_t Buffer::live_bytes() {
  return live;
}

}  // namespace sculpt
