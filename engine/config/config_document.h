#pragma once
// A config as a person wrote it: TOML plus --set, flattened to "section.key" -> value. Each value
// knows the place that it came from.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sculpt {

/// One value of a config. Dates and nested tables are not allowed as values.
struct ConfigValue {
  using Array = std::vector<ConfigValue>;
  std::variant<int64_t, double, bool, std::string, Array> value;
  std::string source;  ///< "cifar.toml:12" or "--set train.lr=0.1"
  std::string text;    ///< as written after --set; otherwise empty

  /// Describes the value as TOML, for messages: "abc", 3, 3.0; lists are described as "a list".
  std::string describe() const;
};

class ConfigDocument {
 public:
  ConfigDocument() = default;
  /// Throws Error with file and line if the text is not TOML. A file may begin with
  /// `base = "FILE.toml"`, a path from its own folder: the settings of that file count where this
  /// file has none of its own. The base may have a base, too.
  static ConfigDocument from_file(const std::string& path);
  static ConfigDocument from_text(std::string_view toml, const std::string& name);

  /// `assignment` is "section.key=value". The value is TOML. A value that is not TOML is taken as
  /// text, so that quotes may be left out. A later setting replaces an earlier one and the value
  /// from the file.
  void set(const std::string& assignment);

  const std::map<std::string, ConfigValue>& values() const { return values_; }
  /// Maps the name ("train", "train.inner") of every table of the file, including empty tables, to
  /// its place.
  const std::map<std::string, std::string>& tables() const { return tables_; }
  const ConfigValue* find(std::string_view key) const;

 private:
  static ConfigDocument from_chain(const std::string& path, std::vector<std::string>& chain);

  std::map<std::string, ConfigValue> values_;
  std::map<std::string, std::string> tables_;
};

}  // namespace sculpt
