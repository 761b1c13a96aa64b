#include "kernels/device/device.h"

#include <charconv>
#include <dlfcn.h>
#include <filesystem>
#include <optional>

#include "kernels/common/check.h"
#include "kernels/common/cpu_name.h"
#include "kernels/common/parallel.h"
#include "kernels/device/conv_library.h"
#include "kernels/device/cuda_module.h"
#include "kernels/device/library_interface.h"
#include "kernels/tuning/build_id.h"

namespace sculpt::kernels {
namespace {

/// A library of ours that lies beside this program. If it could not be loaded, `problem` says why.
template <class Module>
struct Loaded {
  const Module* module = nullptr;
  std::string problem;
  const void* address = nullptr;  ///< an address within the library
};

template <class Module>
Loaded<Module> load(const char* name, const char* entry_name) {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string file = program.parent_path() / name;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, fmt::format("cannot load {}", dlerror())};
  void* const address = dlsym(library, entry_name);
  if (address == nullptr)
    return {nullptr, fmt::format("{} was not built with this program; build both again", file)};
  return {reinterpret_cast<const Module* (*)()>(address)(), {}, address};
}

const Loaded<cuda::Module>& cuda_module() {
#if defined(SCULPT_HAVE_CUDA)
  static const auto loaded = load<cuda::Module>(cuda::kModuleFile, cuda::kModuleEntry);
#else
  static const Loaded<cuda::Module> loaded = {
      nullptr, "this build has no CUDA backend (configure it with `cmake --preset cuda`)"};
#endif
  return loaded;
}

const Loaded<cuda::ConvLibrary>& conv_library() {
#if defined(SCULPT_HAVE_CUDNN)
  static const auto loaded = [] {
    auto library = load<cuda::ConvLibrary>(cuda::kConvLibraryFile, cuda::kConvLibraryEntry);
    if (library.module == nullptr)
      library.problem += " (is the folder of cuDNN and cuBLAS in LD_LIBRARY_PATH?)";
    return library;
  }();
#else
  static const Loaded<cuda::ConvLibrary> loaded = {
      nullptr,
      "this build found no cuDNN (configure it with `-DCUDNN_ROOT=FOLDER`), or no cuBLAS in the "
      "CUDA toolkit"};
#endif
  return loaded;
}

const Loaded<Collectives>& collectives() {
#if defined(SCULPT_HAVE_NCCL)
  static const auto loaded = [] {
    auto library = load<Collectives>(kCollectivesFile, kCollectivesEntry);
    if (library.module == nullptr)
      library.problem += " (is the folder of libnccl.so.2 in LD_LIBRARY_PATH?)";
    return library;
  }();
#else
  static const Loaded<Collectives> loaded = {
      nullptr,
      "this build found no NCCL (install libnccl-dev, or configure it with `-DNCCL_ROOT=FOLDER`)"};
#endif
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

/// The process has one chooser of each kind, and its choices apply to every backend.
Chooser* all_to_library() {
  static Chooser* const chooser = new Chooser;
  return chooser;
}
Chooser* measured(const std::string& machine, const Warn& warn) {
  static Chooser* const chooser =
      new Chooser({default_choice_file(), machine, warn ? warn : [](const std::string&) {}});
  return chooser;
}

Device cpu_device(const std::string& precision, const std::string& conv, std::string reason) {
  const auto needs_gpu = [&](const char* key, const std::string& value, const char* instead) {
    fail("{} = {} needs a GPU, and the device is the CPU{}{}; use {} or auto", key, value,
         reason.empty() ? "" : ": ", reason, instead);
  };
  if (precision != "auto" && precision != "fp32")
    needs_gpu("execution.precision", precision, "fp32");
  if (conv == "cudnn") needs_gpu("execution.conv", conv, "native");
  Device device;
  device.backend = &cpu_backend();
  device.name = "cpu";
  device.reason = std::move(reason);
  return device;
}

Device cuda_device(const cuda::Module& module, int index, const std::string& precision) {
  module.use_device(index);
  const std::string name = "cuda-" + (precision == "auto" ? "bf16" : precision);
  Device device;
  for (const Backend* backend : module.backends())
    if (backend->name == name) device.backend = backend;
  if (device.backend == nullptr)
    fail("execution.precision = {}: the GPU computes in fp32, tf32 or bf16", precision);
  device.name = fmt::format("cuda:{}", index);
  device.description = module.describe_device(index);
  device.side_stream = &module.side_stream();
  device.bus_id = module.bus_id(index);
  return device;
}

/// Makes the device use NVIDIA's libraries for convolutions, always or where they are faster.
void use_library(Device& device, const Loaded<cuda::Module>& cuda, const std::string& conv,
                 const Warn& warn) {
  if (conv != "cudnn" && conv != "auto")
    fail("execution.conv = {}: convolutions are native, cudnn or auto", conv);
  const Loaded<cuda::ConvLibrary>& library = conv_library();
  device.libraries = start_conv_library(library.module, library.problem, conv, warn);
  if (device.libraries.empty()) return;
  device.chooser = conv == "cudnn" ? all_to_library()
                                   : measured(fmt::format("{}; {}; build {}", device.description,
                                                          device.libraries, build_id(cuda.address)),
                                              warn);
  device.backend = cuda.module->library_backend(*device.backend, *library.module, *device.chooser);
}

}  // namespace

Device open_device(const std::string& wanted, const std::string& precision, const std::string& conv,
                   const Warn& warn) {
  if (wanted == "cpu") return cpu_device(precision, conv, "");
  const std::optional<int> index = index_of(wanted);
  if (!index) fail("unknown device '{}'; use auto, cpu, cuda or cuda:N, N counted from 0", wanted);
  const Loaded<cuda::Module>& loaded = cuda_module();
  const std::string problem = loaded.module ? loaded.module->why_unusable(*index) : loaded.problem;
  if (problem.empty()) {
    Device device = cuda_device(*loaded.module, *index, precision);
    if (wanted == "auto") device.reason = "a usable GPU was found";
    if (conv != "native") use_library(device, loaded, conv, warn);
    return device;
  }
  if (wanted != "auto") fail("the device {} cannot be used: {}; use --device cpu", wanted, problem);
#if defined(SCULPT_HAVE_CUDA)
  return cpu_device(precision, conv, problem);
#else
  return cpu_device(precision, conv, "");  // a build without CUDA needs no reason
#endif
}

int count_gpus() {
  const Loaded<cuda::Module>& loaded = cuda_module();
  if (loaded.module == nullptr || !loaded.module->why_unusable(0).empty()) return 0;
  return loaded.module->count_devices();
}

std::string device_of_rank(const std::string& wanted, int local_rank, int ranks_here, int gpus) {
  const bool may_choose = wanted == "cuda" || wanted == "auto";
  if (ranks_here == 1 || !may_choose || gpus <= 1) return wanted;
  if (gpus < ranks_here)
    fail(
        "{} ranks of this machine share {} GPUs, and each needs a GPU of its own; start fewer "
        "ranks, or use --device cpu",
        ranks_here, gpus);
  return fmt::format("cuda:{}", local_rank);
}

const Collectives* load_collectives(std::string& problem) {
  problem = collectives().problem;
  return collectives().module;
}

std::string describe_gpu() {
  const Loaded<cuda::Module>& loaded = cuda_module();
  if (loaded.module == nullptr) return loaded.problem;
  const std::string problem = loaded.module->why_unusable(0);
  return problem.empty() ? loaded.module->describe_device(0) : problem;
}

void time_sparse_kernels(Device& device, const Warn& warn) {
  if (device.backend != &cpu_backend()) return;
  device.chooser =
      measured(fmt::format("{}; {}; {} threads; build {}", cpu_name(), device.backend->name,
                           thread_count(), build_id(device.backend)),
               warn);
}

}  // namespace sculpt::kernels
