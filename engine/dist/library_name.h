#pragma once
// Shortens what an MPI library says of itself.

#include <string>

namespace sculpt {

/// Returns "Open MPI 4.1.4" or "MPICH 4.0.2" from the text of MPI_Get_library_version, which may
/// have many lines. A text of another library is cut after its first line.
std::string short_library_name(const std::string& version_text);

}  // namespace sculpt
