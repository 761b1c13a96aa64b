#pragma once
// The parts of reading a study file. Only the study_*.cpp files include this header.

#include <map>
#include <string>
#include <vector>

#include "engine/study/study_file.h"
#include "engine/study/toml_nodes.h"

namespace sculpt {

/// The names that the parts of the file are checked against.
struct StudyNames {
  std::string file;
  const ConfigKeys* keys = nullptr;  ///< null: any key is allowed, for a file of sculpt_study
  /// All values that an axis has in any size. They are texts (StudyValue::text).
  std::map<std::string, std::vector<std::string>> values;
  /// All values that the file gives to a key in any size, and that the command gives to it.
  std::map<std::string, std::vector<std::string>> given;
  std::vector<std::string> variants;

  /// Returns the key under its name of today. Throws Error with the nearest name if configs have no
  /// such key.
  std::string key_of(const TomlEntry& entry) const;
  /// Returns the same, but also allows kVariantKey.
  std::string axis_of(const TomlEntry& entry) const {
    return entry.key == kVariantKey ? entry.key : key_of(entry);
  }
};

/// Throws Error with the nearest name, or the table that the key belongs to, if the file has a key
/// at its top that study files do not have.
void require_top_keys(const toml::table& root, const StudyNames& names);

/// Throws Error with the nearest name if a table has another key than `allowed`. `what` describes
/// the table: "[[claim]]".
void require_keys(const toml::table& table, const std::string& file, const std::string& what,
                  const std::vector<std::string>& allowed);

/// Throws Error if `name`, which stands at `node`, cannot be part of the name of a folder as it is.
void require_folder_name(const std::string& name, const toml::node& node, const std::string& file);

/// Returns the path of the base that a table of the file names, as seen from the present folder; ""
/// if it names none. Throws Error if there is no such config.
std::string base_in(const toml::table& table, const std::string& file);

/// Reads the settings, variants and lists of values that the file gives to runs, with those of the
/// chosen size (study.size). The settings of the command come over all of them. Adds the variants
/// and values to `names`.
void read_values(const toml::table& root, const std::vector<Setting>& command, StudyNames& names,
                 Study& study);

/// Reads a table of settings, or the name of a variant, or a list of such names. `key` is the key
/// that the node has in the file, for messages. Throws Error if no size of the study has such a
/// value.
Selection read_selection(const toml::node& node, const std::string& key, const StudyNames& names,
                         const Study& study);

/// Reads `[[exclude]]` of the file. Exclusions of values that only another size has, or that the
/// command has replaced, are dropped. Throws Error if one names a key to which the study gives no
/// value.
void read_exclusions(const toml::table& root, const StudyNames& names, Study& study);

/// Reads `[[claim]]` and `[[figure]]` of the file.
void read_questions(const toml::table& root, const StudyNames& names, Study& study);

}  // namespace sculpt
