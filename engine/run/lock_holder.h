#pragma once
// Describes the process that holds a lock: makes such a description of this process, converts it to
// text and back, and finds out whether the process is alive.

#include <filesystem>
#include <optional>
#include <string>

#include "engine/run/run_lock.h"

namespace sculpt {

/// Describes this process, with a new token.
LockHolder this_process();

/// Returns the absolute path of a folder as a lock records it, with bytes that are not UTF-8
/// replaced. Returns "" if the folder does not exist.
std::string path_in_lock(const std::filesystem::path& folder);

std::string to_json(const LockHolder& holder);
/// Returns nothing if the text was not written by to_json().
std::optional<LockHolder> parse_holder(const std::string& json);

enum class Life { alive, dead, unknown };
/// Returns `unknown` for a process of another machine.
Life life_of(const LockHolder& holder);

}  // namespace sculpt
