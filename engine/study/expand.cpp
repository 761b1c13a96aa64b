#include "engine/study/expand.h"

#include <algorithm>
#include <fmt/format.h>

#include "engine/config/setting_name.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/selection.h"

namespace sculpt {
namespace {

constexpr size_t kLongestName = 100;
constexpr const char* kSeed = "seed";

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);  // npos + 1 is 0
}

/// One combination: for each axis, the index of its value.
using Combination = std::vector<size_t>;

/// Goes on to the next combination. Returns false after the last one.
bool advance(Combination& at, const std::vector<StudyAxis>& axes) {
  for (size_t axis = axes.size(); axis-- > 0;) {
    if (++at[axis] < axes[axis].values.size()) return true;
    at[axis] = 0;
  }
  return false;
}

/// Returns "-lrr-sparsity0.9-s1" for the axes of a run.
std::string changes_of(const Study& study, const StudyRun& run) {
  std::string name = run.variant.empty() ? "" : "-" + run.variant, seed;
  for (const StudyAxis& axis : study.axes) {
    if (axis.key == kVariantKey) continue;
    const auto value = run.settings.find(axis.key);
    if (axis.key == kSeed) {
      seed = "-s" + file_name_text(value->second.text());
      continue;
    }
    const auto alike = std::ranges::count_if(study.axes, [&](const StudyAxis& other) {
      return last_part(other.key) == last_part(axis.key);
    });
    name += "-" + setting_name(axis.key, value->second.toml, alike > 1);
  }
  if (name.size() + seed.size() > kLongestName)
    name = name.substr(0, kLongestName - 9 - seed.size()) + "-" + short_hash(name);
  return name + seed;
}

/// Fills the settings and the axes of a run. Returns false if the combination repeats an earlier
/// one, because the variant has a value of its own for the key of an axis.
bool fill(const Study& study, const Combination& at, StudyRun& run) {
  run.settings = study.settings;
  run.base = study.base;
  const StudyVariant* variant = nullptr;
  for (size_t i = 0; i < study.axes.size(); ++i)
    if (study.axes[i].key == kVariantKey)
      variant = study.find_variant(study.axes[i].values[at[i]].text());
  if (variant != nullptr) {
    run.variant = variant->name;
    run.label = variant->label;
    if (!variant->base.empty()) run.base = variant->base;
    for (const auto& [key, value] : variant->settings)
      run.settings[key] = value;
    run.axes[kVariantKey] = variant->name;
  }
  for (size_t i = 0; i < study.axes.size(); ++i) {
    const StudyAxis& axis = study.axes[i];
    if (axis.key == kVariantKey) continue;
    const bool own = variant != nullptr && variant->settings.contains(axis.key);
    if (own && at[i] > 0) return false;
    if (!own) run.settings[axis.key] = axis.values[at[i]];
    run.axes[axis.key] = run.settings[axis.key].text();
  }
  return true;
}

/// Throws Error before a study is expanded to more combinations than anybody can train.
void require_countable(const Study& study) {
  constexpr double kMost = 100'000;
  double combinations = 1;
  for (const StudyAxis& axis : study.axes)
    combinations *= static_cast<double>(axis.values.size());
  if (combinations > kMost)
    fail(
        "{}: the lists of values have {:.3g} combinations, and a study may have {:.0f}; take "
        "values "
        "out of [vary], or make several studies",
        study.file, combinations, kMost);
}

/// Calls `body` with a run for each combination, excluded ones too. The runs have no numbers yet.
template <class Body>
void for_each_combination(const Study& study, const Body& body) {
  require_countable(study);
  Combination at(study.axes.size(), 0);
  do {
    StudyRun run;
    if (fill(study, at, run)) body(run);
  } while (advance(at, study.axes));
}

constexpr std::string_view kReference = "{run:";

class References {
 public:
  References(const Study& study, std::vector<StudyRun>& runs) : study_(study), runs_(runs) {}

  void resolve() {
    for (StudyRun& run : runs_)
      for (auto& [key, value] : run.settings)
        replace_in(run, value);
    for (const StudyRun& run : runs_)
      require_no_circle(run, {});
  }

 private:
  void replace_in(StudyRun& run, StudyValue& value) {
    for (size_t begin = value.toml.find(kReference); begin != std::string::npos;
         begin = value.toml.find(kReference, begin)) {
      const size_t name = begin + kReference.size(), end = value.toml.find('}', begin);
      if (end == std::string::npos)
        fail("{}: {} has no closing bracket; write {{run:VARIANT}}", value.source, value.toml);
      const StudyRun& other = find(run, value.toml.substr(name, end - name), value);
      value.toml.replace(begin, end + 1 - begin, other.folder.string());
      if (std::ranges::find(run.needs, other.number) == run.needs.end())
        run.needs.push_back(other.number);
    }
  }

  /// Returns the run of a variant that has the values of `run` on all other axes. An axis for which
  /// the variant has a value of its own may differ.
  const StudyRun& find(const StudyRun& run, const std::string& variant,
                       const StudyValue& value) const {
    const StudyVariant* const wanted = study_.find_variant(variant);
    if (wanted == nullptr) {
      std::vector<std::string> names;
      for (const StudyVariant& one : study_.variants)
        names.push_back(one.name);
      fail("{}: there is no variant '{}'{}", value.source, variant, did_you_mean(variant, names));
    }
    for (const StudyRun& other : runs_) {
      if (other.variant != variant) continue;
      const bool same = std::ranges::all_of(run.axes, [&](const auto& axis) {
        return axis.first == kVariantKey || wanted->settings.contains(axis.first) ||
               same_value(axis.second, other.value(axis.first));
      });
      if (same) return other;
    }
    fail("{}: run {} needs a run of variant {} with the same other values, and the study has none",
         value.source, run.name, variant);
  }

  void require_no_circle(const StudyRun& run, std::vector<int64_t> chain) const {
    chain.push_back(run.number);
    for (const int64_t number : run.needs) {
      const StudyRun& other = runs_[static_cast<size_t>(number - 1)];
      if (std::ranges::find(chain, number) != chain.end())
        fail("{}: run {} needs itself, by way of {{run:...}}; take one of these out", study_.file,
             other.name);
      require_no_circle(other, chain);
    }
  }

  const Study& study_;
  std::vector<StudyRun>& runs_;
};

}  // namespace

std::vector<StudyRun> expand(const Study& study) {
  std::vector<StudyRun> runs;
  for_each_combination(study, [&](StudyRun& run) {
    const bool excluded = std::ranges::any_of(
        study.excluded, [&](const Selection& selection) { return matches(selection, run); });
    if (excluded) return;
    run.number = static_cast<int64_t>(runs.size()) + 1;
    runs.push_back(std::move(run));
  });
  if (runs.empty())
    fail("{}: [[exclude]] leaves no run of the study; take one of these tables out", study.file);
  const size_t digits = std::max<size_t>(3, std::to_string(runs.size()).size());
  for (StudyRun& run : runs) {
    run.name = fmt::format("{:0{}}{}", run.number, digits, changes_of(study, run));
    run.folder = study.folder / run.name;
  }
  References(study, runs).resolve();
  return runs;
}

std::vector<Selection> idle_exclusions(const Study& study) {
  std::vector<Selection> idle = study.excluded;
  for_each_combination(study, [&](const StudyRun& run) {
    std::erase_if(idle, [&](const Selection& selection) { return matches(selection, run); });
  });
  return idle;
}

}  // namespace sculpt
