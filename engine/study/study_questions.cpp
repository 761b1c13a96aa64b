// Reads what the runs of a study are compared for: claims and figures.

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/metrics.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

/// The names of the tables of a study's report. A figure has its data in NAME.csv, as a table has.
constexpr std::string_view kTables[] = {"results",         "runs",     "differing-settings",
                                        "common-settings", "versions", "verdicts"};

class QuestionReader {
 public:
  QuestionReader(const StudyNames& names, Study& study) : names_(names), study_(study) {}

  void read_claims(const toml::table& root) {
    for (const toml::table* claim_table : tables_of(root, "claim", names_.file)) {
      const toml::table& table = *claim_table;
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
      if (const toml::node* where = table.get("where"))
        claim.where = read_selection(*where, "where", names_, study_);
      if (std::ranges::find(study_.claims, claim.id, &StudyClaim::id) != study_.claims.end())
        fail("{}: there are two claims with the id '{}'", place_of(table, names_.file), claim.id);
      study_.claims.push_back(std::move(claim));
    }
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
    for (const toml::table* figure_table : tables_of(root, "figure", names_.file)) {
      const toml::table& table = *figure_table;
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
      if (const toml::node* series = table.get("series")) {
        const TomlEntry entry = entry_of("series", *series);
        figure.series = names_.axis_of({text_of(entry), series, entry.source});
      }
      if (const toml::node* log = table.get("log_x"))
        figure.log_x = bool_of(entry_of("log_x", *log));
      if (const toml::node* log = table.get("log_y"))
        figure.log_y = bool_of(entry_of("log_y", *log));
      if (const toml::node* where = table.get("where"))
        figure.where = read_selection(*where, "where", names_, study_);
      if (std::ranges::find(study_.figures, figure.name, &StudyFigure::name) !=
          study_.figures.end())
        fail("{}: there are two figures with the name '{}'", place_of(table, names_.file),
             figure.name);
      study_.figures.push_back(std::move(figure));
    }
  }

 private:
  TomlEntry entry_of(const std::string& key, const toml::node& node) const {
    return {key, &node, place_of(node, names_.file)};
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
    return read_selection(*node, key, names_, study_);
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

  /// Reads a list of keys.
  std::vector<std::string> keys_in(const TomlEntry& entry) const {
    std::vector<std::string> keys;
    for (const toml::node& item : array_of(entry)) {
      const TomlEntry inner = entry_of(entry.key, item);
      keys.push_back(names_.axis_of({text_of(inner), &item, inner.source}));
    }
    return keys;
  }

  const StudyNames& names_;
  Study& study_;
};

}  // namespace

void read_questions(const toml::table& root, const StudyNames& names, Study& study) {
  QuestionReader reader(names, study);
  reader.read_claims(root);
  reader.read_figures(root);
}

}  // namespace sculpt
