#pragma once
// Composes what --version prints.

#include <string>

namespace sculpt {

/// Returns version, commit, compiler and backends, one per line.
std::string version_text();

}  // namespace sculpt
