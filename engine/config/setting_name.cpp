#include "engine/config/setting_name.h"

#include "engine/config/config.h"

namespace sculpt {
namespace {

constexpr size_t kLongestName = 28;

}  // namespace

std::string file_name_text(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '+' || c == '_' || c == '-';
    if (kept)
      name += c;
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (!name.empty() && name.back() == '-')
    name.pop_back();
  return name;
}

std::string short_hash(const std::string& text) {
  return hash_config({{"text", text}}, {}).substr(0, 8);
}

std::string setting_name(const std::string& key, const std::string& toml, bool with_section) {
  const bool quoted = toml.size() >= 2 && toml.front() == '"';
  const std::string value = quoted ? toml.substr(1, toml.size() - 2) : toml;
  // npos + 1 is 0, so a key without a section is whole.
  std::string label = with_section ? file_name_text(key) : key.substr(key.rfind('.') + 1);
  std::string text = file_name_text(value);
  if (key == "model.name" || key == "data.name")
    label.clear();  // such a value is clear without its key
  else if (quoted || toml == "true" || toml == "false")
    label += '-';
  // A value that is too long, or that file_name_text() has changed, gets a hash that distinguishes
  // it.
  if (text != value || label.size() + text.size() > kLongestName)
    text = text.substr(0, 8) + "-" + short_hash(toml);
  return label + text;
}

}  // namespace sculpt
