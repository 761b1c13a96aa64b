#include "engine/dist/mpi.h"

#include <chrono>
#include <dlfcn.h>
#include <filesystem>
#include <thread>

#include "engine/core/error.h"
#include "engine/dist/mpi_module.h"
#include "engine/dist/place.h"
#include "engine/dist/worker_communicator.h"

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

void require_agreement(const Launch& launch, const Communicator& communicator) {
  if (communicator.rank() == launch.rank && communicator.size() == launch.size) return;
  fail(
      "{} says that this is rank {} of {}, but {} says that it is rank {} of {}: the launcher "
      "belongs to another MPI than the one that this program was built with; start the program "
      "with the launcher of {}, or configure the build with the other MPI (-DMPI_C_COMPILER=...)",
      launch.launcher, launch.rank, launch.size, communicator.library(), communicator.rank(),
      communicator.size(), communicator.library());
}

}  // namespace

std::string mpi_problem() {
  return loaded().problem;
}

std::unique_ptr<Communicator> mpi_communicator(const Launch& launch, const DistOptions& options) {
  if (loaded().module == nullptr)
    fail("a run on several ranks needs MPI, or the variable SCULPT_RENDEZVOUS: {}",
         loaded().problem);
  auto communicator = std::make_unique<WorkerCommunicator>(loaded().module->carrier(), options);
  try {
    require_agreement(launch, *communicator);
    communicator->meet();
    return communicator;
  } catch (const Error& error) {
    // Each rank takes itself for rank 0 here. The one that the launcher calls so speaks first, and
    // its end usually ends the others.
    if (launch.rank != 0 && communicator->rank() == 0) std::this_thread::sleep_for(kRootFirst);
    // The caller has no communicator yet whose ranks it could end.
    communicator->abort(2, error.what());
  }
}

}  // namespace sculpt
