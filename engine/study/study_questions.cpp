// Reads what the runs of a study are compared for: claims and figures, and the combinations that
// are left out.

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/metrics.h"
#include "engine/study/selection.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

/// The names of the tables of a study's report. A figure has its data in NAME.csv, as a table has.
constexpr std::string_view kTables[] = {"results",         "runs",     "differing-settings",
                                        "common-settings", "versions", "verdicts"};

class QuestionReader {
 public:
  QuestionReader(const StudyNames& names, Study& study) : names_(names), study_(study) {}

  void read_exclusions(const toml::table& root) {
    for_each(root, "exclude", [&](const toml::table& table) {
      Selection selection = selection_of(table, place_of(table, names_.file));
      if (selection.values.empty())
        fail("{}: [[exclude]] names no key, and would leave all runs out", selection.source);
      require_given(selection);
      if (!is_of_other_choice(selection)) study_.excluded.push_back(std::move(selection));
    });
  }

  void read_claims(const toml::table& root) {
    for_each(root, "claim", [&](const toml::table& table) {
      require_keys(table, names_.file, "[[claim]]",
                   {"id", "text", "better", "than", "metric", "direction", "over", "where"});
      StudyClaim claim;
      claim.id = required_text(table, "id", "[[claim]]");
      claim.text = required_text(table, "text", "[[claim]]");
      claim.better = required_selection(table, "better");
      claim.than = required_selection(table, "than");
      if (table.contains("metric")) claim.metric = metric_in(table, "metric", false);
      claim.direction = optional_text(table, "direction");
      require_one_of(table, "direction", claim.direction, {"", "higher", "lower"});
      if (claim.direction.empty() && metric_of(claim.metric).better == Better::unclear)
        fail(
            "{}: claim {} must say which values of {} are better: direction = \"higher\", or "
            "\"lower\"",
            place_of(table, names_.file), claim.id, claim.metric);
      if (const toml::node* over = table.get("over")) claim.over = keys_in(entry_of("over", *over));
      if (std::ranges::find(claim.over, "seed") != claim.over.end())
        fail("{}: claim {} names the seed in `over`; runs are paired by their seeds without that",
             place_of(table, names_.file), claim.id);
      if (claim.better.values == claim.than.values)
        fail("{}: claim {} compares the same runs with themselves: `better` and `than` are equal",
             place_of(table, names_.file), claim.id);
      require_analysis(table, claim);
      if (const toml::node* where = table.get("where")) claim.where = selection_of(*where, "where");
      if (std::ranges::find(study_.claims, claim.id, &StudyClaim::id) != study_.claims.end())
        fail("{}: there are two claims with the id '{}'", place_of(table, names_.file), claim.id);
      study_.claims.push_back(std::move(claim));
    });
  }

  /// Throws Error if the claim compares values of an analysis that the study does not make.
  void require_analysis(const toml::table& table, const StudyClaim& claim) const {
    constexpr std::string_view kAnalysis = "analysis.";
    if (!claim.metric.starts_with(kAnalysis)) return;
    const std::string file = claim.metric.substr(kAnalysis.size());
    const bool made = std::ranges::any_of(study_.analyses, [&](const std::string& words) {
      return words.starts_with("all") || file.starts_with(words.substr(0, words.find(' ')));
    });
    if (!made)
      fail(
          "{}: claim {} compares {}, but the study does not make this analysis; add it to the list "
          "`analyze`",
          place_of(table, names_.file), claim.id, claim.metric);
  }

  void read_figures(const toml::table& root) {
    for_each(root, "figure", [&](const toml::table& table) {
      require_keys(table, names_.file, "[[figure]]",
                   {"name", "title", "caption", "x", "y", "series", "log_x", "log_y", "where"});
      StudyFigure figure;
      figure.name = required_text(table, "name", "[[figure]]");
      if (figure.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") !=
          std::string::npos)
        fail(
            "{}: the name '{}' becomes part of file names; write it with lower-case letters, "
            "digits and hyphens",
            place_of(*table.get("name"), names_.file), figure.name);
      if (names_.keys != nullptr && std::ranges::find(kTables, figure.name) != std::end(kTables))
        fail(
            "{}: a figure cannot have the name '{}', because the report has a table of this name; "
            "choose another name",
            place_of(*table.get("name"), names_.file), figure.name);
      figure.title = optional_text(table, "title");
      figure.caption = optional_text(table, "caption");
      required_text(table, "x", "[[figure]]");
      figure.x = metric_in(table, "x", true);
      if (table.contains("y")) figure.y = metric_in(table, "y", false);
      if (const toml::node* series = table.get("series"))
        figure.series = key_in(text_of(entry_of("series", *series)), entry_of("series", *series));
      if (const toml::node* log = table.get("log_x"))
        figure.log_x = bool_of(entry_of("log_x", *log));
      if (const toml::node* log = table.get("log_y"))
        figure.log_y = bool_of(entry_of("log_y", *log));
      if (const toml::node* where = table.get("where"))
        figure.where = selection_of(*where, "where");
      if (std::ranges::find(study_.figures, figure.name, &StudyFigure::name) !=
          study_.figures.end())
        fail("{}: there are two figures with the name '{}'", place_of(table, names_.file),
             figure.name);
      study_.figures.push_back(std::move(figure));
    });
  }

 private:
  TomlEntry entry_of(const std::string& key, const toml::node& node) const {
    return {key, &node, place_of(node, names_.file)};
  }

  template <class Body>
  void for_each(const toml::table& root, const std::string& key, const Body& body) const {
    const toml::node* node = root.get(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr || !array->is_homogeneous(toml::node_type::table))
      fail("{}: write [[{}]] with double brackets, once for each {}", place_of(*node, names_.file),
           key, key);
    for (const toml::node& item : *array)
      body(*item.as_table());
  }

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

  std::string optional_text(const toml::table& table, const std::string& key) const {
    const toml::node* node = table.get(key);
    return node == nullptr ? "" : text_of(entry_of(key, *node));
  }

  std::string required_text(const toml::table& table, const std::string& key,
                            const std::string& what) const {
    if (!table.contains(key))
      fail("{}: {} needs the key {}", place_of(table, names_.file), what, key);
    return optional_text(table, key);
  }

  void require_one_of(const toml::table& table, const std::string& key, const std::string& text,
                      const std::vector<std::string>& allowed) const {
    if (std::ranges::find(allowed, text) != allowed.end()) return;
    fail("{}: {} must be \"{}\" or \"{}\", not \"{}\"", place_of(*table.get(key), names_.file), key,
         allowed[1], allowed[2], text);
  }

  Selection required_selection(const toml::table& table, const std::string& key) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) fail("{}: [[claim]] needs the key {}", place_of(table, names_.file), key);
    return selection_of(*node, key);
  }

  /// Returns the name of a metric; with `or_key`, a key of the config is allowed, too.
  std::string metric_in(const toml::table& table, const std::string& key, bool or_key) const {
    const TomlEntry entry = entry_of(key, *table.get(key));
    const std::string name = text_of(entry);
    std::vector<std::string> metrics;
    for (const Metric& metric : study_metrics())
      metrics.emplace_back(metric.name);
    if (std::ranges::find(metrics, name) != metrics.end() || name.starts_with("analysis."))
      return name;
    std::vector<std::string> known = metrics;
    if (or_key) {
      if (names_.keys == nullptr) return name;
      known.insert(known.end(), names_.keys->names.begin(), names_.keys->names.end());
      if (std::ranges::find(known, name) != known.end()) return name;
    }
    fail("{}: there is no metric '{}'{}; there are: {}", entry.source, name,
         did_you_mean(name, known), fmt::join(metrics, ", "));
  }

  std::string key_in(const std::string& name, const TomlEntry& entry) const {
    return name == kVariantKey ? name : names_.key_of({name, entry.node, entry.source});
  }

  /// Reads a list of keys.
  std::vector<std::string> keys_in(const TomlEntry& entry) const {
    std::vector<std::string> keys;
    for (const toml::node& item : array_of(entry)) {
      const TomlEntry inner = entry_of(entry.key, item);
      keys.push_back(key_in(text_of(inner), inner));
    }
    return keys;
  }

  /// Reads a table of settings, or the name of a variant, or a list of such names.
  Selection selection_of(const toml::node& node, const std::string& key) const {
    Selection selection;
    selection.source = place_of(node, names_.file);
    if (const toml::table* table = node.as_table()) {
      for (const TomlEntry& entry : entries_of(*table, names_.file))
        add(selection, key_in(entry.key, entry), entry);
    } else if (node.is_string() || node.is_array()) {
      add(selection, kVariantKey, {key, &node, selection.source});
    } else {
      fail("{}: {} must be the name of a variant, a list of such names, or a table of settings",
           selection.source, key);
    }
    return selection;
  }

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
  Study& study_;
};

}  // namespace

void read_questions(const toml::table& root, const StudyNames& names, Study& study) {
  QuestionReader reader(names, study);
  reader.read_exclusions(root);
  reader.read_claims(root);
  reader.read_figures(root);
}

}  // namespace sculpt
