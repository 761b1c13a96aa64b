#pragma once
// A config as a person wrote it: TOML plus --set, flattened to "section.key" -> value. Each value
// knows the place that it came from.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/core/file_format.h"

namespace sculpt {

/// The format of configs. In version 1, which no file carries, many keys had other names.
inline constexpr FileFormat kConfigFormat{"sculpt-config", 2};

/// A key that has got another name. Configs may use either name.
struct RenamedKey {
  std::string_view before;  ///< "train.lr"
  std::string_view now;     ///< "optim.lr"
};
using RenamedKeys = std::span<const RenamedKey>;

/// One value of a config. Dates and nested tables are not allowed as values.
struct ConfigValue {
  using Array = std::vector<ConfigValue>;
  std::variant<int64_t, double, bool, std::string, Array> value;
  std::string source;    ///< "cifar.toml:12", "--set optim.lr=0.1" or "--threads 2"
  std::string text;      ///< as written after --set; otherwise empty
  std::string old_name;  ///< the old name of the key, where the config uses it; otherwise empty

  /// Describes the value as TOML, for messages: "abc", 3, 3.0; lists are described as "a list".
  std::string describe() const;
};

/// One setting of a command line.
struct Setting {
  // A conversion is implicit, so that a list of settings can be written as a list of texts.
  Setting(std::string assigned)  // NOLINT(google-explicit-constructor)
      : assignment(std::move(assigned)), written("--set " + assignment) {}
  Setting(const char* assigned) : Setting(std::string(assigned)) {}  // NOLINT
  /// An option that sets one key, such as "--threads 2".
  Setting(std::string key, const std::string& option, const std::string& value)
      : assignment(std::move(key) + "=" + value), written(option + " " + value) {}

  std::string assignment;  ///< "section.key=value"
  std::string written;     ///< what the person wrote, for messages
};

class ConfigDocument {
 public:
  ConfigDocument() = default;
  /// Throws Error with file and line if the text is not TOML. A file may begin with
  /// `base = "FILE.toml"`, a path from its own folder: the settings of that file count where this
  /// file has none of its own. The base may have a base, too.
  ///
  /// A file may carry its format: `format = "sculpt-config-2"`. A newer format is an Error.
  ///
  /// A key of `renamed` is stored under the name that it has now. One file must not have both
  /// names. `renamed` must outlive the document.
  static ConfigDocument from_file(const std::string& path, RenamedKeys renamed = {});
  static ConfigDocument from_text(std::string_view toml, const std::string& name,
                                  RenamedKeys renamed = {});

  /// Sets one key, and replaces its value from the file. The value is TOML. A value that is not
  /// TOML is taken as text, so that quotes may be left out. Throws Error if an earlier setting gave
  /// the key another value or used the other name of a renamed key.
  void set(const Setting& setting);

  const std::map<std::string, ConfigValue>& values() const { return values_; }
  RenamedKeys renamed() const { return renamed_; }
  /// Maps the old names that the files and settings use to the names that the keys have now.
  const std::map<std::string, std::string>& old_names() const { return old_names_; }
  /// Maps the name ("train", "train.inner") of every table of the file, including empty tables, to
  /// its place.
  const std::map<std::string, std::string>& tables() const { return tables_; }
  const ConfigValue* find(std::string_view key) const;

 private:
  static ConfigDocument from_chain(const std::string& path, std::vector<std::string>& chain,
                                   RenamedKeys renamed);
  void require_known_format();
  void rename_keys();
  const RenamedKey* find_renamed(std::string_view key) const;

  RenamedKeys renamed_;
  std::map<std::string, ConfigValue> values_;
  std::map<std::string, std::string> tables_;
  std::map<std::string, std::string> old_names_;
  struct GivenAs {
    std::string name, text, written;
  };
  std::map<std::string, GivenAs> set_as_;  // key -> what set() was given
};

}  // namespace sculpt
