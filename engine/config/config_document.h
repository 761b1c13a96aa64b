#pragma once
// A config as written by a person: TOML plus --set, flattened to "section.key" -> value, each value
// with the place it came from.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sculpt {

/// One value of a config. Dates and nested tables are no config values.
struct ConfigValue {
  using Array = std::vector<ConfigValue>;
  std::variant<int64_t, double, bool, std::string, Array> value;
  std::string source;  ///< "cifar.toml:12" or "--set train.lr=0.1"
  std::string text;    ///< as written after --set, else empty

  /// For messages, as TOML: "abc", 3, 3.0; "a list" for lists.
  std::string describe() const;
};

class ConfigDocument {
 public:
  ConfigDocument() = default;
  /// Throws Error with file and line for what is not TOML.
  static ConfigDocument from_file(const std::string& path);
  static ConfigDocument from_text(std::string_view toml, const std::string& name);

  /// `assignment` is "section.key=value". The value is TOML; what is not TOML is taken as text, so
  /// that quotes may be left out. A later setting replaces an earlier one and the file's.
  void set(const std::string& assignment);

  const std::map<std::string, ConfigValue>& values() const { return values_; }
  /// Name ("train", "train.inner") -> place of every table of the file, empty ones included.
  const std::map<std::string, std::string>& tables() const { return tables_; }
  const ConfigValue* find(std::string_view key) const;

 private:
  std::map<std::string, ConfigValue> values_;
  std::map<std::string, std::string> tables_;
};

}  // namespace sculpt
