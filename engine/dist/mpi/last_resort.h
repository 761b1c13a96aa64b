#pragma once
// Ends the process although MPI may hang.

namespace sculpt::mpi {

/// Makes sure that the process ends with `exit_code` within a few seconds, whatever its other
/// threads wait for.
void end_soon(int exit_code);

/// Ends all ranks by MPI_Abort. Called by the communication thread. If MPI_Abort does not return,
/// the process ends by itself.
[[noreturn]] void end_all_ranks(int exit_code);

}  // namespace sculpt::mpi
