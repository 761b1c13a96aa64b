// Counts the launches of each kernel, so that a test can tell which kernels a program reaches. When
// the program ends, the counts are written to the file that SCULPT_HOST_LAUNCHES names, one line
// for each kernel.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string_view>

#include "machine.h"

namespace cuda_on_host {
namespace {

using Counts = std::map<std::string_view, size_t>;

Counts& counts() {
  static Counts& the_counts = *new Counts;  // read while the program ends
  return the_counts;
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

bool has_run(const char* kernel) {
  return counts().contains(kernel);
}

size_t launches_of(const char* kernel) {
  size_t total = 0;
  for (const auto& [name, count] : counts())
    if (name.find(kernel) != std::string_view::npos) total += count;
  return total;
}

}  // namespace cuda_on_host
