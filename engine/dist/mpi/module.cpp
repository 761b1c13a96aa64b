#include "engine/dist/mpi/communicator.h"
#include "engine/dist/mpi_module.h"

extern "C" __attribute__((visibility("default"))) const sculpt::MpiModule* sculpt_mpi_module() {
  static const sculpt::MpiModule module = {&sculpt::mpi::open};
  return &module;
}
