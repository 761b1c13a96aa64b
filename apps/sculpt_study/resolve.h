#pragma once
// Resolves the runs of a study to whole configs, with the code of sculpt_run.

#include <map>
#include <string>
#include <vector>

#include "apps/sculpt_run/run_options.h"
#include "engine/study/study_file.h"

namespace sculpt {

/// A run with its whole config.
struct ResolvedRun {
  StudyRun run;
  /// The real folder of the run: `run.folder`, or a folder of the pool that `run.folder` links to.
  std::filesystem::path folder;
  std::string config_toml;                    ///< every key of the config
  std::map<std::string, std::string> values;  ///< the same: key -> TOML
  std::string hash;                           ///< see bits_hash()
  int64_t epochs = 0;                         ///< of the whole plan
  int64_t threads = 1;                        ///< execution.threads
};

/// Returns the hash of everything in a config (key -> TOML) that decides the bits of a result: of
/// the settings that change the result (config_hash() in key_names.h), and of threads, device and
/// convolutions, which decide its last bits.
std::string bits_hash(const std::map<std::string, std::string>& values);

/// Returns the keys that study files may use.
ConfigKeys config_keys_of_studies();

/// Returns the settings of a run, as sculpt_run takes them. An error about one of them names its
/// place in the study file.
std::vector<Setting> settings_of(const StudyRun& run);

/// Expands the study, reads the config of each run, and expands its plan. Throws Error that names
/// the run and the setting.
std::vector<ResolvedRun> resolve(const Study& study);

/// Returns the text of a config with every key of the base config at `path`.
std::string resolved_base(const std::string& path);

}  // namespace sculpt
