#include "engine/dist/library_name.h"

namespace sculpt {

std::string short_library_name(const std::string& version_text) {
  // Open MPI: "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, ..."
  const std::string line = version_text.substr(0, version_text.find('\n'));
  if (line.starts_with("Open MPI v")) {
    const size_t begin = std::string("Open MPI v").size();
    return "Open MPI " + line.substr(begin, line.find(',') - begin);
  }
  // MPICH: "MPICH Version:      4.0.2\nMPICH Release date: ..."
  const std::string mpich = "MPICH Version:";
  if (line.starts_with(mpich)) {
    const size_t begin = line.find_first_not_of(" \t", mpich.size());
    if (begin != std::string::npos) return "MPICH " + line.substr(begin);
  }
  return line;
}

}  // namespace sculpt
