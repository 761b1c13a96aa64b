#include "kernels/device.h"

#include <charconv>
#include <dlfcn.h>
#include <filesystem>
#include <optional>

#include "kernels/common/check.h"
#include "kernels/cuda/module.h"

namespace sculpt::kernels {
namespace {

/// The CUDA library beside this program, or why there is none.
struct Loaded {
  const cuda::Module* module = nullptr;
  std::string problem;
};

Loaded load_cuda() {
#if defined(SCULPT_HAVE_CUDA)
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string file = program.parent_path() / cuda::kModuleFile;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, fmt::format("cannot load {}", dlerror())};
  const auto entry = reinterpret_cast<cuda::ModuleEntry>(dlsym(library, cuda::kModuleEntry));
  if (entry == nullptr) return {nullptr, fmt::format("{} is no CUDA backend of ours", file)};
  return {entry(), {}};
#else
  return {nullptr, "this build has no CUDA backend (configure it with `cmake --preset cuda`)"};
#endif
}

const Loaded& cuda_module() {
  static const Loaded loaded = load_cuda();
  return loaded;
}

std::optional<int> index_of(const std::string& wanted) {
  if (wanted == "cuda" || wanted == "auto") return 0;
  if (!wanted.starts_with("cuda:")) return std::nullopt;
  const char* const begin = wanted.data() + 5;
  const char* const end = wanted.data() + wanted.size();
  int index = 0;
  const auto [stop, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || stop != end || index < 0) return std::nullopt;
  return index;
}

Device cpu_device(const std::string& precision, std::string reason) {
  if (precision != "auto" && precision != "fp32")
    fail("train.precision = {} needs a GPU, and the device is the CPU{}{}; use fp32 or auto",
         precision, reason.empty() ? "" : ": ", reason);
  return {&cpu_backend(), "cpu", "", std::move(reason)};
}

Device cuda_device(const cuda::Module& module, int index, const std::string& precision) {
  module.use_device(index);
  const std::string name = "cuda-" + (precision == "auto" ? "bf16" : precision);
  for (const Backend* backend : module.backends())
    if (backend->name == name)
      return {backend, fmt::format("cuda:{}", index), module.describe_device(index), ""};
  fail("train.precision = {}: the GPU computes in fp32, tf32 or bf16", precision);
}

}  // namespace

Device open_device(const std::string& wanted, const std::string& precision) {
  if (wanted == "cpu") return cpu_device(precision, "");
  const std::optional<int> index = index_of(wanted);
  if (!index) fail("unknown device '{}'; use auto, cpu, cuda or cuda:N, N counted from 0", wanted);
  const Loaded& loaded = cuda_module();
  const std::string problem = loaded.module ? loaded.module->why_unusable(*index) : loaded.problem;
  if (problem.empty()) {
    Device device = cuda_device(*loaded.module, *index, precision);
    if (wanted == "auto") device.reason = "a usable GPU was found";
    return device;
  }
  if (wanted != "auto") fail("--device {}: {}; use --device cpu", wanted, problem);
#if defined(SCULPT_HAVE_CUDA)
  return cpu_device(precision, problem);
#else
  return cpu_device(precision, "");  // nobody expects a GPU of a build without CUDA
#endif
}

}  // namespace sculpt::kernels
