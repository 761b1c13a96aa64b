#pragma once
// What --version prints.

#include <string>

namespace sculpt {

/// Version, commit, compiler and backends, one a line.
std::string version_text();

}  // namespace sculpt
