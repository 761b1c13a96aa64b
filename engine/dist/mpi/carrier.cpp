#include "engine/dist/mpi/carrier.h"

#include <cstdlib>

#include "engine/core/error.h"
#include "engine/dist/library_name.h"
#include "engine/dist/mpi/collective.h"
#include "engine/dist/mpi/last_resort.h"
#include "engine/dist/mpi/status.h"

namespace sculpt::mpi {
namespace {

/// Makes Open MPI compute sums by Rabenseifner's algorithm (3), which sends the fewest bytes in few
/// messages. Open MPI 4.1 would otherwise collect a sum in place on one rank and send it back,
/// which takes more bytes. A choice of the user is kept, and other libraries do not read the
/// variable.
void choose_algorithm() {
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "3", /*overwrite=*/0);
}

}  // namespace

void MpiCarrier::connect(std::chrono::duration<double>) try {
  start_mpi();
} catch (const Error& error) {
  fail("MPI does not start: {}", error.what());
}

void MpiCarrier::start_mpi() {
  choose_algorithm();
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED)
    fail("this MPI allows no threads; use one that provides MPI_THREAD_FUNNELED");
  check(MPI_Comm_dup(MPI_COMM_WORLD, &pending_sums_), "MPI_Comm_dup");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  library_ = short_library_name(std::string(text, static_cast<size_t>(length)));
  heartbeats_.emplace(rank_, size_);
}

std::unique_ptr<Transfer> MpiCarrier::start(const Operation& operation, Channel channel) {
  return std::make_unique<Collective>(
      operation, channel == Channel::pending_sums ? pending_sums_ : MPI_COMM_WORLD);
}

void MpiCarrier::finish() {
  heartbeats_->close();
  check(MPI_Comm_free(&pending_sums_), "MPI_Comm_free");
  check(MPI_Finalize(), "MPI_Finalize");
}

void MpiCarrier::end_all_ranks(int exit_code) {
  mpi::end_all_ranks(exit_code);
}

}  // namespace sculpt::mpi
