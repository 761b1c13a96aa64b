#include "engine/dist/mpi/carrier.h"
#include "engine/dist/mpi_module.h"

extern "C" __attribute__((visibility("default"))) const sculpt::MpiModule* sculpt_mpi_module() {
  static const sculpt::MpiModule module = {[]() -> std::unique_ptr<sculpt::Carrier> {
    return std::make_unique<sculpt::mpi::MpiCarrier>();
  }};
  return &module;
}
