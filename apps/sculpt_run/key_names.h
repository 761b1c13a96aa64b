#pragma once
// The names of config keys in all versions of configs. Version 1 had most settings in [train];
// configs and run folders of version 1 are still read. A key that is renamed gets a row in the
// table of key_names.cpp, and a new key needs no row.

#include <map>
#include <string>

#include "engine/config/config.h"

namespace sculpt {

/// "section.key" -> TOML text.
using ConfigValues = std::map<std::string, std::string>;

/// The keys that have got another name, with both names.
RenamedKeys renamed_keys();

/// Returns the name that a key of today had first: "train.lr" for "optim.lr". Names of run folders
/// and hashes of configs are made of first names, so that they outlive a change of names.
std::string first_name(const std::string& key);

/// Returns true if configs of version 1 had the key, under this name or another one.
bool is_key_of_version_1(const std::string& key);

/// Returns the value, as TOML, that runs had in effect before there was the key: the given default
/// of today unless the table says otherwise.
std::string value_before_key(const std::string& key, const std::string& fallback);

/// Returns the hash that checkpoints record of the config they were written under. Neither another
/// name of a key nor a new key that has its default changes the hash. Keys without effect do not
/// count. A key of version 1 counts even at its default, if `values` has it.
std::string config_hash(const ConfigValues& values);

/// One line for a person, with the old and new names of the keys (see ConfigDocument::old_names);
/// "" if there are none.
std::string old_names_note(const std::map<std::string, std::string>& old_names);

}  // namespace sculpt
