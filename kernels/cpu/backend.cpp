// Chooses among the instruction sets that kernels/cpu was compiled for. This file itself is
// compiled without any of them.

#include "kernels/device/backend.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/cpu/backend_table.h"

namespace sculpt::kernels {
namespace {

struct Choice {
  std::string_view isa;
  const Backend& (*table)() = nullptr;  ///< null: not in this build
  bool runs_here = false;
};

/// Returns the choices, fastest first.
std::vector<Choice> choices() {
  std::vector<Choice> list;
#if defined(SCULPT_HAVE_avx512)
  list.push_back({"avx512", avx512::backend_table,
                  __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("fma")});
#else
  list.push_back({"avx512"});
#endif
#if defined(SCULPT_HAVE_avx2)
  list.push_back({"avx2", avx2::backend_table,
                  __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")});
#else
  list.push_back({"avx2"});
#endif
  list.push_back({"portable", portable::backend_table, true});
  return list;
}

const Backend& choose() {
  const char* wanted = std::getenv("SCULPT_CPU_ISA");
  if (wanted != nullptr && *wanted != '\0') return cpu_backend_for(wanted);
  return *available_cpu_backends().front();
}

}  // namespace

const Backend& cpu_backend_for(std::string_view isa) {
  for (const Choice& choice : choices()) {
    if (choice.isa != isa) continue;
    if (choice.table == nullptr)
      fail("this build has no {} kernels; unset SCULPT_CPU_ISA, or set it to portable", isa);
    if (!choice.runs_here)
      fail(
          "this processor cannot run {} code; unset SCULPT_CPU_ISA to use the best one that it can "
          "run",
          isa);
    return choice.table();
  }
  fail("unknown instruction set '{}' (SCULPT_CPU_ISA); use avx512, avx2 or portable", isa);
}

std::vector<const Backend*> available_cpu_backends() {
  std::vector<const Backend*> backends;
  for (const Choice& choice : choices())
    if (choice.table != nullptr && choice.runs_here) backends.push_back(&choice.table());
  return backends;
}

const Backend& cpu_backend() {
  static const Backend& chosen = choose();
  return chosen;
}

}  // namespace sculpt::kernels
