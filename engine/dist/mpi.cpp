#include "engine/dist/mpi.h"

#include <dlfcn.h>
#include <filesystem>

#include "engine/core/error.h"
#include "engine/dist/mpi_module.h"
#include "engine/dist/single.h"

namespace sculpt {
namespace {

constexpr const char* kFix =
    "install the packages openmpi-bin and libopenmpi-dev, configure again and build again";

struct Loaded {
  const MpiModule* module = nullptr;
  std::string problem;
};

Loaded load() {
#if defined(SCULPT_HAVE_MPI)
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string file = program.parent_path() / kMpiModuleFile;
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, fmt::format("cannot load {}; {}", dlerror(), kFix)};
  void* const entry = dlsym(library, kMpiModuleEntry);
  if (entry == nullptr)
    return {nullptr, fmt::format("{} was not built with this program; build both again", file)};
  return {reinterpret_cast<MpiModuleEntry>(entry)(), {}};
#else
  return {nullptr, fmt::format("this program was built without MPI; {}", kFix)};
#endif
}

const Loaded& loaded() {
  static const Loaded result = load();
  return result;
}

}  // namespace

std::string mpi_problem() {
  return loaded().problem;
}

std::unique_ptr<Communicator> mpi_communicator(const Launch& launch, const DistOptions& options) {
  if (loaded().module == nullptr) fail("a run on several ranks needs MPI: {}", loaded().problem);
  return loaded().module->open(launch, options);
}

std::unique_ptr<Communicator> open_communicator(const Launch& launch, const DistOptions& options) {
  if (launch.size == 1) return single_communicator();
  return mpi_communicator(launch, options);
}

}  // namespace sculpt
