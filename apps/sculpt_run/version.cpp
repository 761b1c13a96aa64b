#include "apps/sculpt_run/version.h"

#include <fmt/format.h>

#include "apps/sculpt_run/table.h"
#include "build_info.h"
#include "kernels/device/backend.h"
#include "kernels/device/device.h"

namespace sculpt {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "Clang " __clang_version__;
#else
constexpr const char* kCompiler = "GCC " __VERSION__;
#endif

}  // namespace

std::string version_text() {
  const std::string commit = SCULPT_COMMIT;
  std::string cpu;
  for (const kernels::Backend* backend : kernels::available_cpu_backends())
    cpu += fmt::format("{}{}", cpu.empty() ? "" : ", ", backend->name);
  constexpr size_t kWidth = 80, kIndent = 11;
  const std::string text = fmt::format(
      "sculpt_run {}\n"
      "commit     {}\n"
      "build      {}\n"
      "compiler   {}\n"
      "CPU        {}\n"
      "GPU        {}\n",
      SCULPT_VERSION, commit.empty() ? "unknown" : commit, SCULPT_BUILD_TYPE, kCompiler, cpu,
      kernels::describe_gpu());
  return wrap(text, kWidth, kIndent);
}

}  // namespace sculpt
