#pragma once
// Reads and writes option structs as configs. A config is a list of sections, and each section is
// an option struct's visit(). Reading, writing and documentation are visitors over that list, so
// that names, defaults, ranges and help exist only once.

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/config/config_document.h"
#include "engine/core/option_visitor.h"

namespace sculpt {

struct ConfigSection {
  std::string name;  ///< "train"; "" for the keys at the top of the file
  std::string help;  ///< one sentence for docs/config.md
  std::function<void(OptionVisitor&)> visit;
};
using ConfigSections = std::vector<ConfigSection>;

/// Sets the options from the document. Options that the document does not mention keep their
/// values. Throws Error for unknown keys (naming the nearest), wrong types, and values out of
/// range, each with its place in the document.
void read_config(const ConfigDocument& document, const ConfigSections& sections);

/// Returns all options with their current values, as TOML that carries its format. Leaves out the
/// keys of `omitted` ("section.key").
std::string write_config(const ConfigSections& sections, const std::set<std::string>& omitted = {});

/// Describes every key with type, default (its current value), range and help, as a Markdown page
/// or as plain text for a terminal.
std::string describe_config_markdown(const ConfigSections& sections);
std::string describe_config_text(const ConfigSections& sections);

/// Maps "section.key" to the TOML text of its value. Renamed keys have the names of today.
std::map<std::string, std::string> flatten_config(const std::string& toml, const std::string& name,
                                                  RenamedKeys renamed = {});

/// Hash (16 hexadecimal digits) of all values except those of the named keys.
std::string hash_config(const std::map<std::string, std::string>& values,
                        const std::set<std::string>& ignored);

}  // namespace sculpt
