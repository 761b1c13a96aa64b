// Checks the keys of a study file.

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

const std::vector<std::string> kTopKeys = {"format", "title",       "source", "base",  "out",
                                           "pool",   "chosen_size", "set",    "vary",  "variant",
                                           "size",   "exclude",     "claim",  "figure"};

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

}  // namespace sculpt
