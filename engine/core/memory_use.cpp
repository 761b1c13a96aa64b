#include "engine/core/memory_use.h"

#include <fstream>
#include <string>

namespace sculpt {
namespace {

/// Returns the bytes from a line "KEY N kB" of a file in /proc; 0 if there is no such line.
int64_t bytes_of(const char* file_name, const std::string& key) {
  std::ifstream file(file_name);
  for (std::string word; file >> word;)
    if (word == key) {
      int64_t kib = 0;
      file >> kib;
      return kib * 1024;
    }
  return 0;
}

}  // namespace

// getrusage() is not used, because it includes the memory of the process before it started this
// program.
int64_t peak_memory_bytes() {
  return bytes_of("/proc/self/status", "VmHWM:");
}

void restart_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

int64_t available_memory_bytes() {
  return bytes_of("/proc/meminfo", "MemAvailable:");
}

}  // namespace sculpt
