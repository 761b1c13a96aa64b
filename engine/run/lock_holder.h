#pragma once
// Who holds a lock: this process as a record, the record as text, and whether its process lives.

#include <filesystem>
#include <optional>
#include <string>

#include "engine/run/run_lock.h"

namespace sculpt {

/// This process, with a new token.
LockHolder this_process();

/// The absolute path of a folder as a lock records it: what is not UTF-8 is replaced. "" if there
/// is no such folder.
std::string path_in_lock(const std::filesystem::path& folder);

std::string to_json(const LockHolder& holder);
/// Nothing if the text is not a lock of ours.
std::optional<LockHolder> parse_holder(const std::string& json);

enum class Life { alive, dead, unknown };
/// `unknown` for a process of another machine.
Life life_of(const LockHolder& holder);

}  // namespace sculpt
