#pragma once
// Reads the nodes of a TOML file for the study_*.cpp files: values as text, tables in the order of
// the file, and errors that name file, line and key.

#include <string>
#include <toml++/toml.h>
#include <vector>

namespace sculpt {

/// A value or an array of a table, with the names of the tables around it: "prune.sparsity".
struct TomlEntry {
  std::string key;
  const toml::node* node = nullptr;
  std::string source;  ///< "C4.toml:12"
};

/// Parses a file. Throws Error with its place if the text is not TOML.
toml::table parse_toml_file(const std::string& text, const std::string& file);

/// Returns "C4.toml:12" for a node of the file.
std::string place_of(const toml::node& node, const std::string& file);

/// Returns all values and arrays of a table and of the tables in it, in the order of the file.
/// `prefix` comes before each key.
std::vector<TomlEntry> entries_of(const toml::table& table, const std::string& file,
                                  const std::string& prefix = "");

/// Returns the keys of a table itself, in the order of the file.
std::vector<std::string> keys_in_order(const toml::table& table);

/// Returns the table that `parent` has under the key; null if it has none. Throws Error if the
/// value is no table.
const toml::table* table_of(const toml::table& parent, const std::string& key,
                            const std::string& file);

/// Returns the tables that a file writes as [[key]], in their order. Throws Error if the key has
/// another value.
std::vector<const toml::table*> tables_of(const toml::table& parent, const std::string& key,
                                          const std::string& file);

/// Returns a number, text, bool or list of these as TOML on one line. Throws Error for dates and
/// tables.
std::string toml_of(const TomlEntry& entry);

/// Returns the text, bool or array of an entry. Throws Error naming the entry if it is something
/// else, or an empty text.
std::string text_of(const TomlEntry& entry);
bool bool_of(const TomlEntry& entry);
const toml::array& array_of(const TomlEntry& entry);

/// Returns the text that a table has under the key; "" if it has none. Throws Error if the value is
/// no text, or an empty one.
std::string text_in(const toml::table& table, const std::string& key, const std::string& file);

}  // namespace sculpt
