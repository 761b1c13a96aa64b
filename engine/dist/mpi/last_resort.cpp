#include "engine/dist/mpi/last_resort.h"

#include <chrono>
#include <mpi.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace sculpt::mpi {
namespace {

constexpr auto kPatience = std::chrono::seconds(3);

}  // namespace

void end_soon(int exit_code) {
  try {
    std::thread([exit_code] {
      std::this_thread::sleep_for(kPatience);
      _exit(exit_code);
    }).detach();
  } catch (const std::system_error&) {
    // MPI_Abort has to do without the thread, because there is nobody to tell.
  }
}

void end_all_ranks(int exit_code) {
  end_soon(exit_code);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace sculpt::mpi
