// Reads selections of runs, and those selections whose runs a study leaves out.

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/selection.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

class SelectionReader {
 public:
  SelectionReader(const StudyNames& names, const Study& study) : names_(names), study_(study) {}

  /// Reads a table of settings, or the name of a variant, or a list of such names.
  Selection read(const toml::node& node, const std::string& key) const {
    Selection selection;
    selection.source = place_of(node, names_.file);
    if (const toml::table* table = node.as_table()) {
      for (const TomlEntry& entry : entries_of(*table, names_.file))
        add(selection, names_.axis_of(entry), entry);
    } else if (node.is_string() || node.is_array()) {
      add(selection, kVariantKey, {key, &node, selection.source});
    } else {
      fail("{}: {} must be the name of a variant, a list of such names, or a table of settings",
           selection.source, key);
    }
    return selection;
  }

 private:
  void add(Selection& selection, const std::string& key, const TomlEntry& entry) const {
    std::vector<std::string>& chosen = selection.values[key];
    const auto add_value = [&](const toml::node& node) {
      const StudyValue value{toml_of({entry.key, &node, entry.source}), entry.source};
      require_value(key, value);
      chosen.push_back(value.text());
    };
    const toml::array* list = entry.node->as_array();
    if (list == nullptr) {
      add_value(*entry.node);
    } else {
      for (const toml::node& item : *list)
        add_value(item);
    }
    if (chosen.empty()) fail("{}: {} has no value", entry.source, entry.key);
  }

  /// Throws Error if no size of the study has such a value. A key that is no axis may have any.
  void require_value(const std::string& key, const StudyValue& value) const {
    if (names_.keys == nullptr) return;
    std::vector<std::string> known = names_.variants;
    if (key != kVariantKey) {
      const auto found = names_.values.find(key);
      if (found == names_.values.end()) return;
      known = found->second;
      // A variant may have a value of its own for the key of an axis.
      for (const StudyVariant& variant : study_.variants)
        if (const auto own = variant.settings.find(key); own != variant.settings.end())
          known.push_back(own->second.text());
    }
    for (const std::string& one : known)
      if (same_value(one, value.text())) return;
    fail("{}: there is no {} {} in the study{}; there are: {}", value.source,
         key == kVariantKey ? "variant" : key, value.toml, did_you_mean(value.text(), known),
         fmt::join(known, ", "));
  }

  const StudyNames& names_;
  const Study& study_;
};

class ExclusionReader {
 public:
  ExclusionReader(const StudyNames& names, Study& study) : names_(names), study_(study) {}

  void read(const toml::table& root) {
    for (const toml::table* table : tables_of(root, "exclude", names_.file)) {
      Selection selection = read_selection(*table, "exclude", names_, study_);
      if (selection.values.empty())
        fail("{}: [[exclude]] names no key, and would leave all runs out", selection.source);
      require_given(selection);
      if (!is_of_other_choice(selection)) study_.excluded.push_back(std::move(selection));
    }
  }

 private:
  /// Throws Error if the study gives no value to a key of the exclusion. The values of base configs
  /// are not compared, so such an exclusion would leave out no run.
  void require_given(const Selection& excluded) const {
    if (names_.keys == nullptr) return;
    for (const auto& [key, values] : excluded.values)
      if (!names_.given.contains(key))
        fail(
            "{}: [[exclude]] names {}, to which the study itself gives no value, so no run would "
            "be left out; give it its values in [set], [vary] or a variant, or take it out here",
            excluded.source, key == kVariantKey ? "a variant" : key);
  }

  /// Returns true if runs of this study can have the value for the key.
  bool is_given_now(const std::string& key, const std::string& value) const {
    const auto same = [&](const StudyValue& one) { return same_value(one.text(), value); };
    const auto axis = std::ranges::find(study_.axes, key, &StudyAxis::key);
    if (axis != study_.axes.end() && std::ranges::any_of(axis->values, same)) return true;
    const auto has = [&](const StudySettings& settings) {
      const auto found = settings.find(key);
      return found != settings.end() && same(found->second);
    };
    return has(study_.settings) ||
           std::ranges::any_of(study_.variants, [&](const StudyVariant& variant) {
             return is_run(variant.name) && has(variant.settings);
           });
  }

  /// Returns true if the variant is among those that the study runs.
  bool is_run(const std::string& variant) const {
    const auto axis = std::ranges::find(study_.axes, kVariantKey, &StudyAxis::key);
    return axis != study_.axes.end() &&
           std::ranges::any_of(axis->values,
                               [&](const StudyValue& value) { return value.text() == variant; });
  }

  /// Returns true if the exclusion belongs to other choices: all values that it has for some key
  /// are values of another size, or the command has replaced them.
  bool is_of_other_choice(const Selection& excluded) const {
    return std::ranges::any_of(excluded.values, [&](const auto& chosen) {
      const auto given = names_.given.find(chosen.first);
      if (given == names_.given.end()) return false;
      const auto now = [&](const std::string& value) { return is_given_now(chosen.first, value); };
      const auto ever = [&](const std::string& value) {
        return std::ranges::any_of(given->second,
                                   [&](const std::string& one) { return same_value(one, value); });
      };
      return std::ranges::none_of(chosen.second, now) && std::ranges::any_of(chosen.second, ever);
    });
  }

  const StudyNames& names_;
  Study& study_;
};

}  // namespace

Selection read_selection(const toml::node& node, const std::string& key, const StudyNames& names,
                         const Study& study) {
  return SelectionReader(names, study).read(node, key);
}

void read_exclusions(const toml::table& root, const StudyNames& names, Study& study) {
  ExclusionReader(names, study).read(root);
}

}  // namespace sculpt
