#pragma once
// Reads and writes study files. docs/studies.md describes every key.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/config_document.h"
#include "engine/core/file_format.h"
#include "engine/study/study.h"

namespace sculpt {

/// The format of study files.
inline constexpr FileFormat kStudyFormat{"sculpt-study", 1};

/// The name of the study file in the folder of a study.
inline constexpr const char* kStudyFile = "study.toml";

/// The keys of configs, which this library does not know itself.
struct ConfigKeys {
  std::vector<std::string> names;
  RenamedKeys renamed;
};

/// The choices of a command. Empty members leave the choice to the file.
struct StudyChoices {
  std::string size;
  /// "KEY=VALUE" for all runs, or "vary.KEY=[VALUE, ...]" for the values of an axis.
  std::vector<Setting> settings;
  std::string out, pool;
};

/// Reads a study file. A relative `base` counts from the folder of the file, and `out` and `pool`
/// from the present folder. Throws Error naming file, line, key and the nearest name for an unknown
/// key, size, variant, metric or value.
Study read_study_file(const std::string& path, const StudyChoices& choices, const ConfigKeys& keys);

/// Reads the study.toml that sculpt_study has written into the folder of a study. Throws Error
/// naming the folder and the fix.
Study read_study_folder(const std::filesystem::path& folder);

/// Returns the study as the text of a study file, with the choices in it. `bases` are the paths of
/// the base configs, from the folder of the new file, by the path that the study has.
std::string to_toml(const Study& study, const std::map<std::string, std::string>& bases);

}  // namespace sculpt
