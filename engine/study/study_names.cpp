// Checks the names in a study file: keys, names of variants and sizes, and paths of base configs.

#include <algorithm>
#include <filesystem>
#include <fmt/ranges.h>

#include "engine/config/setting_name.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

const std::vector<std::string> kTopKeys = {"format",  "title",       "source",  "base",  "out",
                                           "pool",    "chosen_size", "analyze", "set",   "vary",
                                           "variant", "size",        "exclude", "claim", "figure"};

}  // namespace

std::string StudyNames::key_of(const TomlEntry& entry) const {
  if (keys == nullptr) return entry.key;
  for (const RenamedKey& renamed : keys->renamed)
    if (renamed.before == entry.key) return std::string(renamed.now);
  if (std::ranges::find(keys->names, entry.key) == keys->names.end())
    fail("{}: there is no key '{}'{}; sculpt_run --help-config lists all keys", entry.source,
         entry.key, did_you_mean(entry.key, keys->names));
  return entry.key;
}

void require_keys(const toml::table& table, const std::string& file, const std::string& what,
                  const std::vector<std::string>& allowed) {
  for (const std::string& key : keys_in_order(table))
    if (std::ranges::find(allowed, key) == allowed.end())
      fail("{}: {} has no key '{}'{}; it has: {}", place_of(*table.get(key), file), what, key,
           did_you_mean(key, allowed), fmt::join(allowed, ", "));
}

void require_top_keys(const toml::table& root, const StudyNames& names) {
  for (const std::string& key : keys_in_order(root)) {
    if (std::ranges::find(kTopKeys, key) != kTopKeys.end()) continue;
    const bool of_config =
        names.keys != nullptr && std::ranges::any_of(names.keys->names, [&](const auto& name) {
          return name == key || name.starts_with(key + ".");
        });
    fail("{}: a study file has no key '{}'{}", place_of(*root.get(key), names.file), key,
         of_config ? "; keys of the config stand in the table [set]" : did_you_mean(key, kTopKeys));
  }
}

void require_folder_name(const std::string& name, const toml::node& node, const std::string& file) {
  if (name.empty() || name.find('.') != std::string::npos || file_name_text(name) != name)
    fail(
        "{}: the name '{}' becomes part of folder names; write it with letters, digits, hyphens "
        "and underscores",
        place_of(node, file), name);
}

std::string base_in(const toml::table& table, const std::string& file) {
  namespace fs = std::filesystem;
  const std::string base = text_in(table, "base", file);
  if (base.empty()) return "";
  const fs::path path = (fs::path(file).parent_path() / base).lexically_normal();
  if (!fs::is_regular_file(path))
    fail("{}: there is no config {}; base is a path from the folder of the study file",
         place_of(*table.get("base"), file), path.string());
  return path.string();
}

}  // namespace sculpt
