#include "engine/core/buffer.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "engine/core/error.h"

namespace sculpt {
namespace {

/// Counts the bytes in use by name, separately for the host and for devices.
class Live {
 public:
  void add(bool on_device, const char* what, size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_[on_device][what] += bytes;
    total_[on_device] += bytes;
    peak_[on_device] = std::max(peak_[on_device], total_[on_device]);
  }
  void remove(bool on_device, const char* what, size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_[on_device][what] -= bytes;
    total_[on_device] -= bytes;
  }
  size_t peak(bool on_device) {
    const std::lock_guard lock(mutex_);
    return peak_[on_device];
  }
  /// Describes the largest entries: "activations and their gradients 70.1 MiB, the weights 1.0
  /// MiB".
  std::string describe(bool on_device) {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<size_t, std::string>> parts;
    for (const auto& [what, bytes] : bytes_[on_device])
      if (bytes > 0) parts.emplace_back(bytes, what);
    std::sort(parts.rbegin(), parts.rend());
    constexpr size_t kMost = 5;
    parts.resize(std::min(parts.size(), kMost));
    std::string text;
    for (const auto& [bytes, what] : parts)
      text += fmt::format("{}{} {:.1f} MiB", text.empty() ? "" : ", ", what, mebibytes(bytes));
    return text.empty() ? "nothing yet" : text;
  }
  static double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

 private:
  std::mutex mutex_;
  std::map<std::string, size_t> bytes_[2];
  size_t total_[2] = {}, peak_[2] = {};
};

Live& live() {
  static Live& the_live = *new Live;  // never destroyed: buffers may outlive static objects
  return the_live;
}

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCacheLine = 64;

size_t round_up(size_t n, size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Large buffers get pages of their own. Such pages are zero without being touched, so memory is
// used only when it is first accessed, and is returned to the system when the buffer is freed.

bool has_own_pages(size_t bytes) {
  return bytes >= kHugePage;
}

std::byte* map_pages(size_t bytes) {
  const size_t size = round_up(bytes, kHugePage);
  void* mapped =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(mapped);
  const size_t before =
      round_up(reinterpret_cast<uintptr_t>(begin), kHugePage) - reinterpret_cast<uintptr_t>(begin);
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + size, kHugePage - before);
#ifdef MADV_HUGEPAGE
  // Strided walks over large activations would miss the TLB if pages had 4 KiB.
  madvise(begin + before, size, MADV_HUGEPAGE);
#endif
  return begin + before;
}

/// Returns zeroed memory; null if there is not enough.
std::byte* allocate_host(size_t bytes) {
  if (has_own_pages(bytes)) return map_pages(bytes);
  const size_t size = round_up(bytes, kCacheLine);
  void* data = std::aligned_alloc(kCacheLine, size);
  if (data) std::memset(data, 0, size);
  return static_cast<std::byte*>(data);
}

void free_host(std::byte* data, size_t bytes) {
  if (has_own_pages(bytes))
    munmap(data, round_up(bytes, kHugePage));
  else
    std::free(data);
}

}  // namespace

Buffer::Buffer(size_t bytes, const char* what, const kernels::DeviceMemory* memory)
    : what_(what), memory_(memory) {
  if (bytes == 0) return;
  data_ = memory ? static_cast<std::byte*>(memory->allocate(bytes)) : allocate_host(bytes);
  if (!data_)
    fail(
        "out of {}memory: cannot allocate {:.1f} MiB for {}; the program uses {}; use a smaller "
        "batch "
        "(train.batch) or a smaller model",
        memory ? "GPU " : "", Live::mebibytes(bytes), what, live().describe(memory != nullptr));
  bytes_ = bytes;
  live().add(memory_ != nullptr, what, bytes);
  if (memory_) zero();
}

Buffer::~Buffer() {
  if (!data_) return;
  memory_ ? memory_->free(data_) : free_host(data_, bytes_);
  live().remove(memory_ != nullptr, what_, bytes_);
}

size_t peak_device_bytes() {
  return live().peak(true);
}

void Buffer::zero() {
  if (!data_) return;
  if (memory_)
    memory_->zero(data_, bytes_);
  else
    std::memset(data_, 0, bytes_);
}

}  // namespace sculpt
