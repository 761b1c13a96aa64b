#include "engine/study/study_file.h"

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/config/setting_name.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/nearest_name.h"
#include "engine/study/selection.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// The table of lists of values, at the top of the file and in a size.
constexpr const char* kVary = "vary";

const toml::table* table_of(const toml::table& parent, const std::string& key,
                            const std::string& file) {
  const toml::node* node = parent.get(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table())
    fail("{}: {} must be a table, written [{}]", place_of(*node, file), key, key);
  return node->as_table();
}

std::string text_in(const toml::table& table, const std::string& key, const std::string& file) {
  const toml::node* node = table.get(key);
  return node == nullptr ? "" : text_of({key, node, place_of(*node, file)});
}

class StudyFileReader {
 public:
  StudyFileReader(const std::string& path, const StudyChoices& choices, const ConfigKeys* keys)
      : path_(path), choices_(choices), root_(parse_toml_file(read_text(path), path)) {
    names_.file = path;
    names_.keys = keys;
  }

  Study read() {
    require_top_keys(root_, names_);
    require_known(text_in(root_, "format", path_), kStudyFormat, path_ + ": the study file");
    const fs::path file(path_);
    study_.file = path_;
    study_.name = file.stem().string();
    study_.title = text_in(root_, "title", path_);
    if (study_.title.empty()) study_.title = study_.name;
    study_.source = text_in(root_, "source", path_);
    if (study_.source.empty()) study_.source = path_;
    study_.base = base_path(root_);
    choose_size();
    read_settings();
    read_variants();
    read_axes();
    apply_command();
    add_variant_axis();
    require_bases();
    require_set_or_varied();
    name_folders();
    read_questions(root_, names_, study_);
    return std::move(study_);
  }

 private:
  /// Returns the path of the base that a table names, as seen from the present folder.
  std::string base_path(const toml::table& table) const {
    const std::string base = text_in(table, "base", path_);
    if (base.empty()) return "";
    const fs::path path = (fs::path(path_).parent_path() / base).lexically_normal();
    if (!fs::is_regular_file(path))
      fail("{}: there is no config {}; base is a path from the folder of the study file",
           place_of(*table.get("base"), path_), path.string());
    return path.string();
  }

  void choose_size() {
    study_.size = text_in(root_, "chosen_size", path_);
    if (const toml::table* sizes = table_of(root_, "size", path_))
      study_.sizes = keys_in_order(*sizes);
    if (study_.sizes.empty()) {
      if (!choices_.size.empty())
        fail("--size {}: {} has no sizes; leave --size out", choices_.size, path_);
      return;
    }
    study_.size = choices_.size.empty() ? study_.sizes.front() : choices_.size;
    if (std::ranges::find(study_.sizes, study_.size) == study_.sizes.end())
      fail("--size {}: {} has no such size{}; it has: {}", study_.size, path_,
           did_you_mean(study_.size, study_.sizes), fmt::join(study_.sizes, ", "));
    const toml::table& sizes = *root_["size"].as_table();
    for (const std::string& size : study_.sizes)
      require_folder_name(size, *sizes.get(size));
    size_ = table_of(sizes, study_.size, path_);
    for (const std::string& size : study_.sizes)
      if (const toml::table* table = table_of(sizes, size, path_))
        if (const toml::table* vary = table_of(*table, kVary, path_)) note_values(*vary);
    if (const std::string base = base_path(*size_); !base.empty()) study_.base = base;
  }

  /// Throws Error if a name cannot be part of the name of a folder as it is.
  void require_folder_name(const std::string& name, const toml::node& node) const {
    if (name.empty() || name.find('.') != std::string::npos || file_name_text(name) != name)
      fail(
          "{}: the name '{}' becomes part of folder names; write it with letters, digits, hyphens "
          "and underscores",
          place_of(node, path_), name);
  }

  /// Remembers the values of axes, which claims may name in every size.
  void note_values(const toml::table& vary) {
    for (const TomlEntry& entry : entries_of(vary, path_))
      for (const StudyValue& value : values_of(entry))
        names_.values[axis_key(entry)].push_back(value.text());
  }

  /// Adds the settings of a table. Skips the entries of tables and keys that are not settings.
  void read_settings_of(const toml::table& table, const std::vector<std::string>& skipped,
                        StudySettings& settings) const {
    for (const TomlEntry& entry : entries_of(table, path_)) {
      const std::string first = entry.key.substr(0, entry.key.find('.'));
      if (std::ranges::find(skipped, first) != skipped.end()) continue;
      settings[names_.key_of(entry)] = {toml_of(entry), entry.source};
    }
  }

  void read_settings() {
    // The number of threads decides the last bits of a result, so a study fixes it, and does not
    // leave it to the number of processors.
    study_.settings["execution.threads"] = {"1", "the default of studies"};
    if (const toml::table* set = table_of(root_, "set", path_))
      read_settings_of(*set, {}, study_.settings);
    if (size_ != nullptr) read_settings_of(*size_, {"base", kVary, kVariantKey}, study_.settings);
  }

  void read_variants() {
    if (const toml::table* variants = table_of(root_, kVariantKey, path_))
      read_variants_of(*variants);
    change_variants_of_size();
  }

  void read_variants_of(const toml::table& variants) {
    for (const std::string& name : keys_in_order(variants)) {
      require_folder_name(name, *variants.get(name));
      const toml::table* table = table_of(variants, name, path_);
      StudyVariant variant{name, text_in(*table, "label", path_), base_path(*table), {}};
      if (variant.label.empty()) variant.label = name;
      read_settings_of(*table, {"label", "base"}, variant.settings);
      names_.variants.push_back(name);
      study_.variants.push_back(std::move(variant));
    }
  }

  void change_variants_of_size() {
    const toml::table* changed = size_ == nullptr ? nullptr : table_of(*size_, kVariantKey, path_);
    if (changed == nullptr) return;
    for (const std::string& name : keys_in_order(*changed)) {
      const auto found = std::ranges::find(study_.variants, name, &StudyVariant::name);
      if (found == study_.variants.end())
        fail("{}: there is no variant '{}'{}", place_of(*changed->get(name), path_), name,
             did_you_mean(name, names_.variants));
      const toml::table* table = table_of(*changed, name, path_);
      if (const std::string base = base_path(*table); !base.empty()) found->base = base;
      read_settings_of(*table, {"base"}, found->settings);
    }
  }

  std::string axis_key(const TomlEntry& entry) const {
    return entry.key == kVariantKey ? entry.key : names_.key_of(entry);
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
    StudyAxis axis{axis_key(entry), values_of(entry)};
    if (axis.key == kVariantKey)
      for (const StudyValue& value : axis.values)
        if (study_.find_variant(value.text()) == nullptr)
          fail("{}: there is no variant {}{}; there are: {}", value.source, value.toml,
               did_you_mean(value.text(), names_.variants), fmt::join(names_.variants, ", "));
    for (const StudyValue& value : axis.values)
      names_.values[axis.key].push_back(value.text());
    const auto found = std::ranges::find(study_.axes, axis.key, &StudyAxis::key);
    if (found == study_.axes.end())
      study_.axes.push_back(std::move(axis));
    else
      *found = std::move(axis);
  }

  void read_axes() {
    if (const toml::table* vary = table_of(root_, kVary, path_))
      for (const TomlEntry& entry : entries_of(*vary, path_))
        set_axis(entry);
    if (size_ == nullptr) return;
    if (const toml::table* vary = table_of(*size_, kVary, path_))
      for (const TomlEntry& entry : entries_of(*vary, path_))
        set_axis(entry);
  }

  /// Applies the settings of the command. A setting counts for all runs, so variants lose theirs.
  void apply_command() {
    for (const Setting& setting : choices_.settings) {
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
      axis.values.push_back({fmt::format("\"{}\"", variant.name), path_});
    study_.axes.insert(study_.axes.begin(), std::move(axis));
  }

  void require_bases() const {
    if (!study_.base.empty()) return;
    for (const StudyVariant& variant : study_.variants)
      if (variant.base.empty())
        fail("{}: variant {} has no base config; write base = \"FILE.toml\" at the top or in it",
             path_, variant.name);
    if (study_.variants.empty())
      fail("{}: there is no base config; write base = \"FILE.toml\" at the top", path_);
  }

  void require_set_or_varied() const {
    for (const StudyAxis& axis : study_.axes) {
      const auto found = study_.settings.find(axis.key);
      if (found != study_.settings.end() && axis.key != "execution.threads")
        fail("{}: {} has a list of values in [vary], too; take one of the two out",
             found->second.source, axis.key);
    }
  }

  void name_folders() {
    const std::string suffix =
        study_.sizes.empty() || study_.size == study_.sizes.front() ? "" : "-" + study_.size;
    const std::string out = text_in(root_, "out", path_);
    if (!choices_.out.empty())
      study_.folder = choices_.out;
    else
      study_.folder = (out.empty() ? "runs/" + study_.name : out) + suffix;
    study_.pool = choices_.pool.empty() ? text_in(root_, "pool", path_) : choices_.pool;
  }

  const std::string path_;
  const StudyChoices& choices_;
  const toml::table root_;
  const toml::table* size_ = nullptr;
  StudyNames names_;
  Study study_;
};

}  // namespace

Study read_study_file(const std::string& path, const StudyChoices& choices,
                      const ConfigKeys& keys) {
  if (!fs::exists(path)) fail("there is no study file {}; give the path of a TOML file", path);
  return StudyFileReader(path, choices, &keys).read();
}

Study read_study_folder(const fs::path& folder) {
  const fs::path file = folder / kStudyFile;
  if (!fs::exists(file))
    fail(
        "{} has no {}, so it is not the folder of a study; give the folder that sculpt_study names",
        folder.string(), kStudyFile);
  StudyChoices choices;
  choices.out = folder.string();
  Study study = StudyFileReader(file.string(), choices, nullptr).read();
  study.name = fs::weakly_canonical(folder).filename().string();
  return study;
}

}  // namespace sculpt
