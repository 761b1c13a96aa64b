#include "engine/dist/mpi/status.h"

#include <mpi.h>
#include <string>

#include "engine/core/error.h"

namespace sculpt::mpi {

void check(int code, const char* function) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  fail("{} failed: {}", function,
       length > 0 ? std::string(text, static_cast<size_t>(length)) : fmt::format("code {}", code));
}

}  // namespace sculpt::mpi
