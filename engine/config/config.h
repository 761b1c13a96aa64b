#pragma once
// From option structs to configs and back. A config is a list of sections, each an option struct's
// visit(); reading, writing and documentation are visitors over that list, so that names, defaults,
// ranges and help exist once.

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

/// Sets the options from the document; what it does not mention keeps its value. Throws Error for
/// unknown keys (naming the nearest), wrong types, and values out of range, each with its place.
void read_config(const ConfigDocument& document, const ConfigSections& sections);

/// All options with their present values, as TOML.
std::string write_config(const ConfigSections& sections);

/// Every key with type, default (present value), range and help: a Markdown page, or plain text for
/// a terminal.
std::string describe_config_markdown(const ConfigSections& sections);
std::string describe_config_text(const ConfigSections& sections);

/// "section.key" -> TOML text of the value.
std::map<std::string, std::string> flatten_config(const std::string& toml, const std::string& name);

/// Hash (16 hexadecimal digits) of all values except those of the named keys.
std::string hash_config(const std::map<std::string, std::string>& values,
                        const std::set<std::string>& ignored);

}  // namespace sculpt
