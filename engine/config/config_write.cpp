#include <cmath>

#include "engine/config/config.h"
#include "engine/config/config_text.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

/// Writes "key = value" lines.
class Writer : public OptionVisitor {
 public:
  Writer(const std::string& section, const std::set<std::string>& omitted)
      : prefix_(section.empty() ? "" : section + "."), omitted_(omitted) {}

  void integer(std::string_view name, int64_t& value, IntegerRange, std::string_view) override {
    line(name, fmt::format("{}", value));
  }
  void real(std::string_view name, double& value, RealRange, std::string_view) override {
    line(name, toml_text(value));
  }
  void boolean(std::string_view name, bool& value, std::string_view) override {
    line(name, value ? "true" : "false");
  }
  void text(std::string_view name, std::string& value, std::string_view) override {
    line(name, toml_text(value));
  }
  void choice(std::string_view name, std::string& value, const std::vector<std::string>&,
              std::string_view) override {
    line(name, toml_text(value));
  }
  void choice_or_count(std::string_view name, std::string& value, const std::vector<std::string>&,
                       std::string_view) override {
    line(name, choice_or_count_toml(value));
  }
  void reals(std::string_view name, std::vector<double>& values, RealRange,
             std::string_view) override {
    line(name, toml_text(values));
  }
  void texts(std::string_view name, std::vector<std::string>& values, std::string_view) override {
    line(name, toml_text(values));
  }

  std::string lines;

 private:
  void line(std::string_view name, const std::string& value) {
    if (omitted_.count(prefix_ + std::string(name)) > 0) return;
    lines += fmt::format("{} = {}\n", name, value);
  }

  const std::string prefix_;
  const std::set<std::string>& omitted_;
};

template <class T>
std::string array_text(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values)
    text += (text.empty() ? "" : ", ") + toml_text(value);
  return "[" + text + "]";
}

std::string value_text(const ConfigValue& value) {
  if (const auto* words = std::get_if<std::string>(&value.value)) return toml_text(*words);
  if (const auto* real = std::get_if<double>(&value.value)) return toml_text(*real);
  const auto* array = std::get_if<ConfigValue::Array>(&value.value);
  if (!array) return value.describe();
  std::string text;
  for (const ConfigValue& item : *array)
    text += (text.empty() ? "" : ", ") + value_text(item);
  return "[" + text + "]";
}

}  // namespace

std::string toml_text(double value) {
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const std::string text = fmt::format("{}", value);
  // TOML distinguishes 1.0 (a float) from 1 (an integer).
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string toml_text(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\')
      text += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      text += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    else
      text += c;
  }
  return text + "\"";
}

std::string toml_text(const std::vector<double>& values) {
  return array_text(values);
}

std::string toml_text(const std::vector<std::string>& values) {
  return array_text(values);
}

std::string choice_or_count_toml(const std::string& value) {
  const bool count = value.find_first_not_of("0123456789") == std::string::npos;
  return count && !value.empty() ? value : toml_text(value);
}

std::string write_config(const ConfigSections& sections, const std::set<std::string>& omitted) {
  std::string toml = fmt::format("format = \"{}\"\n", kConfigFormat.text());
  for (const ConfigSection& section : sections) {
    Writer writer(section.name, omitted);
    section.visit(writer);
    if (!section.name.empty()) toml += fmt::format("\n[{}]\n", section.name);
    toml += writer.lines;
  }
  return toml;
}

std::map<std::string, std::string> flatten_config(const std::string& toml, const std::string& name,
                                                  RenamedKeys renamed) {
  std::map<std::string, std::string> flat;
  const ConfigDocument document = ConfigDocument::from_text(toml, name, renamed);
  for (const auto& [key, value] : document.values())
    flat[key] = value_text(value);
  return flat;
}

std::string hash_config(const std::map<std::string, std::string>& values,
                        const std::set<std::string>& ignored) {
  uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a
  for (const auto& [key, value] : values) {
    if (ignored.count(key)) continue;
    for (const char c : key + "=" + value + "\n")
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace sculpt
