// Reads the values that a study file and the command give to runs: settings, variants and lists.

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/selection.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

/// The table of lists of values, at the top of the file and in a size.
constexpr const char* kVary = "vary";

class ValueReader {
 public:
  ValueReader(const toml::table& root, const std::vector<Setting>& command, StudyNames& names,
              Study& study)
      : root_(root), command_(command), names_(names), study_(study) {}

  void read() {
    if (const toml::table* sizes = table_of(root_, "size", names_.file)) {
      for (const std::string& size : study_.sizes)
        remember_size(*table_of(*sizes, size, names_.file));
      size_ = table_of(*sizes, study_.size, names_.file);
    }
    read_settings();
    read_variants();
    read_axes();
    apply_command();
    add_variant_axis();
    require_set_or_varied();
  }

 private:
  /// Remembers the values of an axis, which claims may name in every size.
  void remember(const std::string& key, const std::vector<StudyValue>& values) {
    for (const StudyValue& value : values) {
      names_.values[key].push_back(value.text());
      names_.given[key].push_back(value.text());
    }
  }

  /// Remembers the values that a size gives to keys. Throws Error if a key is misspelt, so that
  /// this shows before somebody chooses the size.
  void remember_size(const toml::table& size) {
    StudySettings unused;
    read_settings_of(size, {"base", kVary, kVariantKey}, unused);
    if (const toml::table* variants = table_of(size, kVariantKey, names_.file))
      for (const std::string& name : keys_in_order(*variants))
        read_settings_of(*table_of(*variants, name, names_.file), {"base"}, unused);
    if (const toml::table* vary = table_of(size, kVary, names_.file))
      for (const TomlEntry& entry : entries_of(*vary, names_.file))
        remember(names_.axis_of(entry), values_of(entry));
  }

  /// Adds the settings of a table. Skips the entries of tables and keys that are not settings.
  void read_settings_of(const toml::table& table, const std::vector<std::string>& skipped,
                        StudySettings& settings) {
    for (const TomlEntry& entry : entries_of(table, names_.file)) {
      const std::string first = entry.key.substr(0, entry.key.find('.'));
      if (std::ranges::find(skipped, first) != skipped.end()) continue;
      const std::string key = names_.key_of(entry);
      settings[key] = {toml_of(entry), entry.source};
      names_.given[key].push_back(settings[key].text());
    }
  }

  void read_settings() {
    // The number of threads decides the last bits of a result, so a study fixes it, and does not
    // leave it to the number of processors.
    study_.settings["execution.threads"] = {"1", "the default of studies"};
    names_.given["execution.threads"].push_back("1");
    if (const toml::table* set = table_of(root_, "set", names_.file))
      read_settings_of(*set, {}, study_.settings);
    if (size_ != nullptr) read_settings_of(*size_, {"base", kVary, kVariantKey}, study_.settings);
  }

  void read_variants() {
    if (const toml::table* variants = table_of(root_, kVariantKey, names_.file))
      read_variants_of(*variants);
    change_variants_of_size();
  }

  void read_variants_of(const toml::table& variants) {
    for (const std::string& name : keys_in_order(variants)) {
      require_folder_name(name, *variants.get(name), names_.file);
      const toml::table* table = table_of(variants, name, names_.file);
      StudyVariant variant{
          name, text_in(*table, "label", names_.file), base_in(*table, names_.file), {}};
      if (variant.label.empty()) variant.label = name;
      read_settings_of(*table, {"label", "base"}, variant.settings);
      names_.variants.push_back(name);
      study_.variants.push_back(std::move(variant));
    }
  }

  void change_variants_of_size() {
    const toml::table* changed =
        size_ == nullptr ? nullptr : table_of(*size_, kVariantKey, names_.file);
    if (changed == nullptr) return;
    for (const std::string& name : keys_in_order(*changed)) {
      const auto found = std::ranges::find(study_.variants, name, &StudyVariant::name);
      if (found == study_.variants.end())
        fail("{}: there is no variant '{}'{}", place_of(*changed->get(name), names_.file), name,
             did_you_mean(name, names_.variants));
      const toml::table* table = table_of(*changed, name, names_.file);
      if (const std::string base = base_in(*table, names_.file); !base.empty()) found->base = base;
      read_settings_of(*table, {"base"}, found->settings);
    }
  }

  /// Returns the values of an axis, which differ from each other.
  std::vector<StudyValue> values_of(const TomlEntry& entry) const {
    std::vector<StudyValue> values;
    for (const toml::node& item : array_of(entry)) {
      StudyValue value{toml_of({entry.key, &item, entry.source}), entry.source};
      for (const StudyValue& earlier : values)
        if (same_value(earlier.text(), value.text()))
          fail("{}: {} has the value {} twice", entry.source, entry.key, value.toml);
      values.push_back(std::move(value));
    }
    if (values.empty())
      fail("{}: {} has no value; give one at least, or take the key out", entry.source, entry.key);
    return values;
  }

  void set_axis(const TomlEntry& entry) {
    StudyAxis axis{names_.axis_of(entry), values_of(entry)};
    if (axis.key == kVariantKey)
      for (const StudyValue& value : axis.values)
        if (study_.find_variant(value.text()) == nullptr)
          fail("{}: there is no variant {}{}; there are: {}", value.source, value.toml,
               did_you_mean(value.text(), names_.variants), fmt::join(names_.variants, ", "));
    remember(axis.key, axis.values);
    const auto found = std::ranges::find(study_.axes, axis.key, &StudyAxis::key);
    if (found == study_.axes.end())
      study_.axes.push_back(std::move(axis));
    else
      *found = std::move(axis);
  }

  void read_axes() {
    if (const toml::table* vary = table_of(root_, kVary, names_.file))
      for (const TomlEntry& entry : entries_of(*vary, names_.file))
        set_axis(entry);
    if (size_ == nullptr) return;
    if (const toml::table* vary = table_of(*size_, kVary, names_.file))
      for (const TomlEntry& entry : entries_of(*vary, names_.file))
        set_axis(entry);
  }

  /// Applies the settings of the command. A setting counts for all runs, so variants lose theirs.
  void apply_command() {
    for (const Setting& setting : command_) {
      const size_t equals = setting.assignment.find('=');
      if (equals == std::string::npos || equals == 0)
        fail("{}: write it as --set key=value, for example --set train.epochs=2", setting.written);
      const std::string key = setting.assignment.substr(0, equals);
      const std::string text = setting.assignment.substr(equals + 1);
      toml::table parsed;
      try {
        parsed = toml::parse("value = " + text);
      } catch (const toml::parse_error&) {
        parsed.insert("value", text);  // a word without quotes
      }
      const bool varies = key.starts_with("vary.");
      const TomlEntry entry{varies ? key.substr(5) : key, parsed.get("value"), setting.written};
      if (varies) {
        set_axis(entry);
        continue;
      }
      const std::string name = names_.key_of(entry);
      if (std::ranges::find(study_.axes, name, &StudyAxis::key) != study_.axes.end())
        fail("{}: {} has a list of values in the study; write --set vary.{}=[{}]", setting.written,
             name, name, toml_of(entry));
      study_.settings[name] = {toml_of(entry), setting.written};
      names_.given[name].push_back(study_.settings[name].text());
      for (StudyVariant& variant : study_.variants)
        variant.settings.erase(name);
    }
  }

  /// Variants are the first axis unless [vary] names them.
  void add_variant_axis() {
    if (study_.variants.empty() ||
        std::ranges::find(study_.axes, kVariantKey, &StudyAxis::key) != study_.axes.end())
      return;
    StudyAxis axis{kVariantKey, {}};
    for (const StudyVariant& variant : study_.variants)
      axis.values.push_back({fmt::format("\"{}\"", variant.name), names_.file});
    remember(kVariantKey, axis.values);
    study_.axes.insert(study_.axes.begin(), std::move(axis));
  }

  void require_set_or_varied() const {
    for (const StudyAxis& axis : study_.axes) {
      const auto found = study_.settings.find(axis.key);
      if (found != study_.settings.end() && axis.key != "execution.threads")
        fail("{}: {} has a list of values in [vary], too; take one of the two out",
             found->second.source, axis.key);
    }
  }

  const toml::table& root_;
  const std::vector<Setting>& command_;
  const toml::table* size_ = nullptr;
  StudyNames& names_;
  Study& study_;
};

}  // namespace

void read_values(const toml::table& root, const std::vector<Setting>& command, StudyNames& names,
                 Study& study) {
  ValueReader(root, command, names, study).read();
}

}  // namespace sculpt
