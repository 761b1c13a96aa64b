#pragma once
// Errors of MPI calls.

namespace sculpt::mpi {

/// Throws Error naming the function and MPI's own text if `code` is not MPI_SUCCESS.
void check(int code, const char* function);

}  // namespace sculpt::mpi
