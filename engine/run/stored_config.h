#pragma once
// Reads the config.toml of a run folder, and checks that it is whole and is the config that the run
// was trained with.

#include <map>
#include <set>
#include <string>

#include "engine/config/config_document.h"
#include "engine/run/run_folder.h"

namespace sculpt {

/// Returns the values of the folder's config.toml as "section.key" -> TOML text, under the names
/// that the keys have now. Throws Error naming the file and the fix if it is empty, not TOML, or of
/// a newer format.
std::map<std::string, std::string> stored_config(const RunFolder& folder, RenamedKeys renamed = {});

/// Checkpoints record the hash of their config. Throws Error naming config.toml if the folder has
/// checkpoints that can be read, and none was written under a config with the hash `now`: the file
/// was edited or damaged. `missing` are keys that the file lacks and that count in the hash.
void require_config_of_checkpoints(const RunFolder& folder, const std::string& now,
                                   const std::set<std::string>& missing);

}  // namespace sculpt
