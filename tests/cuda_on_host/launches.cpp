// Counts the launches of each kernel, so that a test can tell which kernels a program reaches. When
// the program ends, the counts are written to the file that SCULPT_HOST_LAUNCHES names, one line
// for each kernel.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include "machine.h"

namespace cuda_on_host {
namespace {

using Counts = std::map<std::string_view, size_t>;

Counts& counts() {
  static Counts& the_counts = *new Counts;  // read while the program ends
  return the_counts;
}

/// The kernels that were launched, and not only captured.
struct Launched {
  std::mutex mutex;
  std::set<std::string_view> kernels;
};
Launched& launched() {
  static Launched& of_all = *new Launched;
  return of_all;
}

void write_launches() {
  FILE* file = fopen(getenv("SCULPT_HOST_LAUNCHES"), "w");
  if (file == nullptr) return;
  for (const auto& [kernel, count] : counts())
    fprintf(file, "%s\n", kernel.data());
  fclose(file);
}

}  // namespace

void note_launch(const char* kernel) {
  static const bool wanted = getenv("SCULPT_HOST_LAUNCHES") != nullptr;
  if (wanted && counts().empty()) atexit(write_launches);
  ++counts()[kernel];
}

void detail::note_first_launch(const char* kernel) {
  Launched& of_all = launched();
  const std::lock_guard lock(of_all.mutex);
  of_all.kernels.insert(kernel);
}

bool was_launched(const char* kernel) {
  Launched& of_all = launched();
  const std::lock_guard lock(of_all.mutex);
  return of_all.kernels.contains(kernel);
}

size_t launches_of(const char* kernel) {
  size_t total = 0;
  for (const auto& [name, count] : counts())
    if (name.find(kernel) != std::string_view::npos) total += count;
  return total;
}

}  // namespace cuda_on_host
