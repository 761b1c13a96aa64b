// Which kernels a program launched: written to the file that SCULPT_HOST_LAUNCHES names when the
// program ends, a line each, so that a test can tell which ones no test reaches.

#include <cstdio>
#include <cstdlib>
#include <set>

#include "machine.h"

namespace cuda_on_host {
namespace {

std::set<const char*>* launched = nullptr;

void write_launches() {
  FILE* file = fopen(getenv("SCULPT_HOST_LAUNCHES"), "w");
  if (file == nullptr) return;
  for (const char* kernel : *launched)
    fprintf(file, "%s\n", kernel);
  fclose(file);
}

}  // namespace

void note_launch(const char* kernel) {
  static const bool wanted = getenv("SCULPT_HOST_LAUNCHES") != nullptr;
  if (!wanted) return;
  if (launched == nullptr) {
    launched = new std::set<const char*>;  // read while the program ends
    atexit(write_launches);
  }
  launched->insert(kernel);
}

}  // namespace cuda_on_host
