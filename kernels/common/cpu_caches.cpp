#include "kernels/common/cpu_caches.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <unistd.h>

namespace sculpt::kernels {
namespace {

template <class T>
T first_word(const std::string& path) {
  T value{};
  std::ifstream(path) >> value;
  return value;
}

/// Converts "512K" or "32M" to bytes; returns 0 for any other text.
int64_t bytes_of(const std::string& size) {
  char* unit = nullptr;
  const long long count = std::strtoll(size.c_str(), &unit, 10);
  if (count <= 0) return 0;
  const std::string rest = unit;
  return rest == "K" ? count << 10 : rest == "M" ? count << 20 : rest.empty() ? count : 0;
}

CpuCaches from_sysfs() {
  CpuCaches caches;
  for (int index = 0; index < 8; ++index) {
    const std::string folder =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    if (first_word<std::string>(folder + "type") == "Instruction") continue;
    const int64_t bytes = bytes_of(first_word<std::string>(folder + "size"));
    switch (first_word<int>(folder + "level")) {
      case 1:
        caches.l1_data = bytes;
        break;
      case 2:
        caches.l2 = bytes;
        break;
      case 3:
        caches.l3 = bytes;
        break;
      default:
        break;
    }
  }
  return caches;
}

CpuCaches read_caches() {
  CpuCaches caches = from_sysfs();
  const auto or_from_libc = [](int64_t& bytes, int name) {
    if (bytes == 0) bytes = std::max(0L, ::sysconf(name));
  };
  or_from_libc(caches.l1_data, _SC_LEVEL1_DCACHE_SIZE);
  or_from_libc(caches.l2, _SC_LEVEL2_CACHE_SIZE);
  or_from_libc(caches.l3, _SC_LEVEL3_CACHE_SIZE);
  return caches;
}

}  // namespace

const CpuCaches& cpu_caches() {
  static const CpuCaches caches = read_caches();
  return caches;
}

}  // namespace sculpt::kernels
