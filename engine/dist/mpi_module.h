#pragma once
// The interface that the loadable library libsculpt_mpi.so offers to engine/dist/mpi.cpp. Including
// it does not require MPI.

#include <memory>
#include <string>

#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "engine/dist/launch.h"

namespace sculpt {

struct MpiModule {
  /// Starts MPI and its thread. Throws Error if MPI does not start, or if it contradicts `launch`.
  std::unique_ptr<Communicator> (*open)(const Launch& launch, const DistOptions& options);
};

using MpiModuleEntry = const MpiModule* (*)();
/// The library's file, which lies beside the programs, and its one exported function.
inline constexpr const char* kMpiModuleFile = "libsculpt_mpi.so";
inline constexpr const char* kMpiModuleEntry = "sculpt_mpi_module";

}  // namespace sculpt
