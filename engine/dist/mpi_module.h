#pragma once
// The interface that the loadable library libsculpt_mpi.so offers to engine/dist/mpi.cpp. Including
// it does not require MPI.

#include <memory>

#include "engine/dist/carrier.h"

namespace sculpt {

struct MpiModule {
  /// Makes a carrier by MPI. A process makes one at most.
  std::unique_ptr<Carrier> (*carrier)();
};

using MpiModuleEntry = const MpiModule* (*)();
/// The library's file, which lies beside the programs, and its one exported function.
inline constexpr const char* kMpiModuleFile = "libsculpt_mpi.so";
inline constexpr const char* kMpiModuleEntry = "sculpt_mpi_module";

}  // namespace sculpt
