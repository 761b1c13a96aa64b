#include "engine/config/config_document.h"

#include <algorithm>
#include <filesystem>
#include <fmt/ranges.h>
#include <sstream>
#include <toml++/toml.h>

#include "engine/config/config_text.h"
#include "engine/config/number_meant.h"
#include "engine/core/error.h"
#include "engine/core/files.h"

namespace sculpt {
namespace {

std::string place(const std::string& name, const toml::source_region& region) {
  return region.begin ? fmt::format("{}:{}", name, region.begin.line) : name;
}

/// Converts a TOML node to a value. `name` is a file, or a --set argument, which has no lines.
ConfigValue convert(const toml::node& node, const std::string& name, bool lines,
                    const std::string& key) {
  ConfigValue v;
  v.source = lines ? place(name, node.source()) : name;
  if (const auto* integer = node.as_integer()) {
    v.value = integer->get();
  } else if (const auto* real = node.as_floating_point()) {
    v.value = real->get();
  } else if (const auto* boolean = node.as_boolean()) {
    v.value = boolean->get();
  } else if (const auto* text = node.as_string()) {
    v.value = text->get();
  } else if (const auto* array = node.as_array()) {
    ConfigValue::Array items;
    for (const toml::node& item : *array)
      items.push_back(convert(item, name, lines, key));
    v.value = std::move(items);
  } else if (node.is_table()) {
    fail(
        "{}: {} holds a table; a section is written [{}], with single brackets, and a value is a "
        "number, a text, true, false or a list of these",
        v.source, key, key);
  } else {
    std::ostringstream kind;
    kind << node.type();
    fail("{}: {} is a {}; configs have numbers, texts, true, false and lists of these", v.source,
         key, kind.str());
  }
  return v;
}

void flatten(const toml::table& table, const std::string& prefix, const std::string& name,
             std::map<std::string, ConfigValue>& out, std::map<std::string, std::string>& tables) {
  for (const auto& [key, node] : table) {
    const std::string full = prefix + std::string(std::string_view(key));
    if (const toml::table* inner = node.as_table()) {
      tables[full] = place(name, inner->source());
      flatten(*inner, full + ".", name, out, tables);
      continue;
    }
    ConfigValue value = convert(node, name, /*lines=*/true, full);
    const std::string source = value.source;
    if (!out.emplace(full, std::move(value)).second) fail("{}: {} is set twice", source, full);
  }
}

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && blank(text.back()))
    text.remove_suffix(1);
  return text;
}

/// "; write lr = 0.1" for the line "lr = .1  # comment"; "" if the line's value is not a number
/// that TOML writes in another way.
std::string number_hint(std::string_view text, const toml::source_region& region) {
  for (auto line = region.begin.line; line > 1; --line)
    text.remove_prefix(std::min(text.find('\n') + 1, text.size()));
  text = text.substr(0, text.find('\n'));
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return "";
  std::string_view value = text.substr(equals + 1);
  value = value.substr(0, value.find_first_of("#\r"));
  const bool list = value.find('[') != std::string_view::npos;
  const std::string meant = list ? numbers_meant(value) : number_meant(value);
  if (meant.empty()) return "";
  return fmt::format("; write {} = {}", trim(text.substr(0, equals)), meant);
}

toml::table parse_toml(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    fail("{}: {}{}", place(name, error.source()), error.description(),
         number_hint(text, error.source()));
  }
}

}  // namespace

std::string ConfigValue::describe() const {
  if (const auto* integer = std::get_if<int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) return toml_text(*real);
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* words = std::get_if<std::string>(&value)) return fmt::format("\"{}\"", *words);
  return "a list";
}

ConfigDocument ConfigDocument::from_file(const std::string& path, RenamedKeys renamed) {
  std::vector<std::string> chain;
  return from_chain(path, chain, renamed);
}

// `chain`: the files whose base this file is, the one that was asked for first.
ConfigDocument ConfigDocument::from_chain(const std::string& path, std::vector<std::string>& chain,
                                          RenamedKeys renamed) {
  chain.push_back(path);
  ConfigDocument document = from_text(read_text(path), path, renamed);
  const ConfigValue* base = document.find("base");
  if (base == nullptr) return document;
  const auto* name = std::get_if<std::string>(&base->value);
  if (name == nullptr || name->empty())
    fail("{}: base must be the path of a config file in quotes, not {}", base->source,
         base->describe());
  const auto relative = std::filesystem::path(path).parent_path() / *name;
  const std::string file = relative.lexically_normal().string();
  if (!std::filesystem::exists(file))
    fail("{}: there is no file {}; base is a path from the folder of the config that names it",
         base->source, file);
  for (const std::string& earlier : chain)
    if (std::filesystem::equivalent(earlier, file))
      fail("{}: {} is its own base, by way of {}; take one base out", base->source, file,
           fmt::join(chain, ", "));
  document.values_.erase("base");
  ConfigDocument merged = from_chain(file, chain, renamed);
  for (auto& [key, value] : document.values_)
    merged.values_[key] = std::move(value);
  merged.tables_.insert(document.tables_.begin(), document.tables_.end());
  merged.old_names_.insert(document.old_names_.begin(), document.old_names_.end());
  return merged;
}

ConfigDocument ConfigDocument::from_text(std::string_view toml, const std::string& name,
                                         RenamedKeys renamed) {
  ConfigDocument document;
  document.renamed_ = renamed;
  flatten(parse_toml(toml, name), "", name, document.values_, document.tables_);
  document.require_known_format();
  document.rename_keys();
  return document;
}

void ConfigDocument::require_known_format() {
  const auto found = values_.find("format");
  if (found == values_.end()) return;
  const ConfigValue& format = found->second;
  const auto* text = std::get_if<std::string>(&format.value);
  if (text == nullptr || text->empty())
    fail("{}: format must be \"{}\", not {}", format.source, kConfigFormat.text(),
         format.describe());
  require_known(*text, kConfigFormat, format.source + ": the config");
  values_.erase(found);
}

const RenamedKey* ConfigDocument::find_renamed(std::string_view key) const {
  const auto found = std::ranges::find(renamed_, key, &RenamedKey::before);
  return found == renamed_.end() ? nullptr : &*found;
}

void ConfigDocument::rename_keys() {
  for (const RenamedKey& key : renamed_) {
    auto old = values_.extract(std::string(key.before));
    if (old.empty()) continue;
    if (const ConfigValue* both = find(key.now))
      fail("{}: {} is the old name of {}, and {} sets that, too; take {} out", old.mapped().source,
           key.before, key.now, both->source, key.before);
    old.mapped().old_name = key.before;
    old_names_.emplace(key.before, key.now);
    values_.emplace(key.now, std::move(old.mapped()));
  }
}

void ConfigDocument::set(const Setting& setting) {
  const std::string& assignment = setting.assignment;
  const std::string& source = setting.written;
  const size_t equals = assignment.find('=');
  const std::string given(trim(std::string_view(assignment).substr(0, equals)));
  if (equals == std::string::npos || given.empty())
    fail("{}: write it as --set key=value, for example --set optim.lr=0.1", source);
  const RenamedKey* renamed = find_renamed(given);
  const std::string key = renamed == nullptr ? given : std::string(renamed->now);
  const std::string text(trim(std::string_view(assignment).substr(equals + 1)));
  const auto [found, first] = set_as_.emplace(key, GivenAs{given, text, source});
  const GivenAs& before = found->second;
  if (!first && before.name != given)
    fail("{}: {} and {} are the old and the new name of one key; give only {}", source, before.name,
         given, key);
  if (!first && before.text != text)
    fail("{}: {} gives {} another value; give one of the two", source, before.written, key);

  ConfigValue value;
  value.value = text;
  value.source = source;
  try {
    const toml::table parsed = toml::parse("value = " + text);
    const toml::node* node = parsed.get("value");
    // If there is more than one key, the text contained a line break.
    if (node && parsed.size() == 1 && !node->is_table() && !node->is_date() && !node->is_time() &&
        !node->is_date_time())
      value = convert(*node, source, false, key);
  } catch (const toml::parse_error&) {
    // The text is not TOML, for example a bare word.
  }
  value.text = text;
  if (renamed != nullptr) {
    value.old_name = given;
    old_names_.emplace(given, key);
  }
  values_[key] = std::move(value);
}

const ConfigValue* ConfigDocument::find(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  return found == values_.end() ? nullptr : &found->second;
}

}  // namespace sculpt
