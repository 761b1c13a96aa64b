#include "engine/study/toml_nodes.h"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>

#include "engine/config/config_text.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

bool before(const toml::node& a, const toml::node& b) {
  const toml::source_position& x = a.source().begin;
  const toml::source_position& y = b.source().begin;
  return std::tie(x.line, x.column) < std::tie(y.line, y.column);
}

void collect(const toml::table& table, const std::string& file, const std::string& prefix,
             std::vector<TomlEntry>& entries) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (const toml::table* inner = node.as_table())
      collect(*inner, file, key + ".", entries);
    else
      entries.push_back({key, &node, place_of(node, file)});
  }
}

std::string toml_of_node(const toml::node& node, const TomlEntry& entry) {
  if (const auto* integer = node.as_integer()) return fmt::format("{}", integer->get());
  if (const auto* real = node.as_floating_point()) return toml_text(real->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  if (const auto* text = node.as_string()) return toml_text(text->get());
  if (const auto* array = node.as_array()) {
    std::string list;
    for (const toml::node& item : *array)
      list += (list.empty() ? "" : ", ") + toml_of_node(item, entry);
    return "[" + list + "]";
  }
  fail("{}: {} must be a number, a text, true, false or a list of these", entry.source, entry.key);
}

}  // namespace

toml::table parse_toml_file(const std::string& text, const std::string& file) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    fail("{}:{}: {}", file, error.source().begin.line, error.description());
  }
}

std::string place_of(const toml::node& node, const std::string& file) {
  return fmt::format("{}:{}", file, node.source().begin.line);
}

std::vector<TomlEntry> entries_of(const toml::table& table, const std::string& file,
                                  const std::string& prefix) {
  std::vector<TomlEntry> entries;
  collect(table, file, prefix, entries);
  std::ranges::stable_sort(
      entries, [](const TomlEntry& a, const TomlEntry& b) { return before(*a.node, *b.node); });
  return entries;
}

std::vector<std::string> keys_in_order(const toml::table& table) {
  std::vector<std::pair<std::string, const toml::node*>> nodes;
  for (const auto& [name, node] : table)
    nodes.emplace_back(std::string(name.str()), &node);
  std::ranges::stable_sort(
      nodes, [](const auto& a, const auto& b) { return before(*a.second, *b.second); });
  std::vector<std::string> keys;
  for (const auto& [key, node] : nodes)
    keys.push_back(key);
  return keys;
}

const toml::table* table_of(const toml::table& parent, const std::string& key,
                            const std::string& file) {
  const toml::node* node = parent.get(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table())
    fail("{}: {} must be a table, written [{}]", place_of(*node, file), key, key);
  return node->as_table();
}

std::vector<const toml::table*> tables_of(const toml::table& parent, const std::string& key,
                                          const std::string& file) {
  const toml::node* node = parent.get(key);
  if (node == nullptr) return {};
  const toml::array* array = node->as_array();
  if (array == nullptr || !array->is_homogeneous(toml::node_type::table))
    fail("{}: write [[{}]] with double brackets, once for each {}", place_of(*node, file), key,
         key);
  std::vector<const toml::table*> tables;
  for (const toml::node& item : *array)
    tables.push_back(item.as_table());
  return tables;
}

std::string toml_of(const TomlEntry& entry) {
  return toml_of_node(*entry.node, entry);
}

std::string text_of(const TomlEntry& entry) {
  const auto* text = entry.node->as_string();
  if (text == nullptr || text->get().empty())
    fail("{}: {} must be a text in quotes", entry.source, entry.key);
  return text->get();
}

bool bool_of(const TomlEntry& entry) {
  const auto* boolean = entry.node->as_boolean();
  if (boolean == nullptr) fail("{}: {} must be true or false", entry.source, entry.key);
  return boolean->get();
}

const toml::array& array_of(const TomlEntry& entry) {
  const auto* array = entry.node->as_array();
  if (array == nullptr)
    fail("{}: {} must be a list, such as [{}]", entry.source, entry.key, toml_of(entry));
  return *array;
}

std::string text_in(const toml::table& table, const std::string& key, const std::string& file) {
  const toml::node* node = table.get(key);
  return node == nullptr ? "" : text_of({key, node, place_of(*node, file)});
}

}  // namespace sculpt
