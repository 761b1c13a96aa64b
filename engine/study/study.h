#pragma once
// A study: a base config, lists of values, and what the runs are compared for. This header
// describes a study as data. study_file.h reads and writes the files, and expand.h makes the runs.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sculpt {

/// The name under which variants are an axis: `[vary] variant = ["lrr", "cyclic"]`.
inline constexpr const char* kVariantKey = "variant";

/// A value that a study gives to a key of the config.
struct StudyValue {
  std::string toml;    ///< as TOML: "\"lrr\"", 0.9, [1, 2]
  std::string source;  ///< the place of the value, for messages: "C4.toml:12", "--set seed=2"

  /// Returns the value as people write it: TOML, and texts without their quotes.
  std::string text() const;
};

/// "section.key" -> value. Keys have the names of today.
using StudySettings = std::map<std::string, StudyValue>;

/// A key, or kVariantKey, with the values that the study gives to it.
struct StudyAxis {
  std::string key;
  std::vector<StudyValue> values;
};

/// A named group of settings, such as a method with its schedule.
struct StudyVariant {
  std::string name;
  std::string label;  ///< for people; the name if the file gives none
  std::string base;   ///< path of a config; "" for the base of the study
  StudySettings settings;
};

/// Chooses runs: for each key, which may be kVariantKey, the values that a run may have, as texts
/// (StudyValue::text). A selection without keys chooses all runs.
struct Selection {
  std::map<std::string, std::vector<std::string>> values;
  std::string source;  ///< the place in the study file, for messages
};

/// A claim: runs of one selection are better than runs of another.
struct StudyClaim {
  std::string id;    ///< "C4"
  std::string text;  ///< the claim as a sentence
  Selection better, than;
  std::string metric = "test_accuracy";  ///< a name of metrics.h, or "analysis.FILE.VALUE"
  /// "higher" or "lower": which values of the metric are better. "" leaves it to the metric.
  std::string direction;
  /// Keys besides the seed over which runs of the two selections are paired.
  std::vector<std::string> over;
  Selection where;  ///< restricts both selections
};

/// A figure of the report: one series for each value of a key.
struct StudyFigure {
  std::string name;  ///< part of file names: lower case, digits and hyphens
  std::string title;
  std::string caption;              ///< "" leaves it to the report
  std::string x;                    ///< a metric, or a key with numbers
  std::string y = "test_accuracy";  ///< a metric
  std::string series = kVariantKey;
  bool log_x = false;
  bool log_y = false;
  Selection where;
};

/// One run of a study.
struct StudyRun {
  int64_t number = 0;            ///< from 1
  std::string name;              ///< name of its folder: "001-lrr-sparsity0.9-s1"
  std::filesystem::path folder;  ///< the study's folder and the name
  std::string variant;           ///< name of the variant; "" if the study has no variants
  std::string label;             ///< label of the variant; "" if the study has no variants
  std::string base;              ///< path of its base config
  /// The values of the axes, as texts, with that of kVariantKey where variants are an axis.
  std::map<std::string, std::string> axes;
  StudySettings settings;  ///< all settings that the study gives to this run
  /// Numbers of the runs whose folders the settings name (`{run:lrr}`). They must have finished
  /// before this run starts.
  std::vector<int64_t> needs;

  /// Returns the text of an axis or a setting; "" if the study sets no such key.
  std::string value(const std::string& key) const;
};

struct Study {
  std::string name;   ///< name of the file without .toml
  std::string title;  ///< the name if the file gives none
  std::string file;   ///< path of the study file, for messages
  /// Path of the file that a person wrote. In the folder of a study, `file` is the study.toml
  /// there.
  std::string source;
  std::filesystem::path folder;  ///< where the study keeps its runs
  std::string pool;  ///< folder that several studies keep their runs in; "" if there is none
  std::string size;  ///< the chosen size; "" if the file has no sizes
  std::vector<std::string> sizes;  ///< names of all sizes of the file, in its order
  std::string base;                ///< path of the base config; "" if only variants have bases
  StudySettings settings;
  std::vector<StudyVariant> variants;  ///< in the order of the file
  std::vector<StudyAxis> axes;         ///< the first changes slowest
  std::vector<Selection> excluded;
  /// The analyses of each finished run, as arguments of sculpt_analyze without the run: "hessian
  /// --top 3".
  std::vector<std::string> analyses;
  std::string analyses_source;  ///< the place of `analyze` in the study file, for messages
  std::vector<StudyClaim> claims;
  std::vector<StudyFigure> figures;

  /// Returns the variant of that name; null if there is none.
  const StudyVariant* find_variant(const std::string& variant_name) const;
};

}  // namespace sculpt
