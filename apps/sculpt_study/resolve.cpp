#include "apps/sculpt_study/resolve.h"

#include <filesystem>

#include "apps/sculpt_run/key_names.h"
#include "engine/config/config_text.h"
#include "engine/core/error.h"
#include "engine/study/expand.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

/// Replaces every `before` in the settings by `after`.
void replace_in(StudySettings& settings, const std::string& before, const std::string& after) {
  if (before == after) return;
  for (auto& [key, value] : settings)
    for (size_t at = value.toml.find(before); at != std::string::npos;
         at = value.toml.find(before, at + after.size()))
      value.toml.replace(at, before.size(), after);
}

class Resolver {
 public:
  explicit Resolver(const Study& study) : study_(study), runs_(expand(study)) {
    resolved_.resize(runs_.size());
  }

  std::vector<ResolvedRun> resolve_all() {
    for (const StudyRun& run : runs_)
      resolve(run);
    return std::move(resolved_);
  }

 private:
  /// Resolves the runs that a run needs before the run itself, because its plan names their
  /// folders.
  const ResolvedRun& resolve(const StudyRun& run) {
    ResolvedRun& resolved = resolved_[static_cast<size_t>(run.number - 1)];
    if (!resolved.config_toml.empty()) return resolved;
    resolved.run = run;
    for (const int64_t number : run.needs) {
      const ResolvedRun& other = resolve(runs_[static_cast<size_t>(number - 1)]);
      // The path is a part of the run's config, so it must not depend on the present folder.
      const auto folder = std::filesystem::absolute(other.folder).lexically_normal();
      replace_in(resolved.run.settings, other.run.folder.string(), folder.string());
    }
    try {
      read(resolved);
    } catch (const Error& error) {
      fail("run {}: {}", run.name, error.what());
    }
    return resolved;
  }

  void read(ResolvedRun& resolved) const {
    RunOptions options = read_options(resolved.run.base, settings_of(resolved.run)).options;
    resolved.epochs = total_epochs(options.plan());
    resolved.threads = options.train.execution.threads;
    resolved.config_toml = write_config(options.sections());
    resolved.values = flatten_config(resolved.config_toml, "config");
    resolved.hash = bits_hash(resolved.values);
    resolved.folder = study_.pool.empty() ? resolved.run.folder
                                          : std::filesystem::path(study_.pool) /
                                                pool_name(resolved.values, resolved.hash);
  }

  const Study& study_;
  const std::vector<StudyRun> runs_;
  std::vector<ResolvedRun> resolved_;
};

}  // namespace

std::string bits_hash(const ConfigValues& values) {
  ConfigValues bits = {{"config", config_hash(values)}};
  for (const char* key : {"execution.threads", "execution.device", "execution.conv"})
    if (const auto found = values.find(key); found != values.end()) bits[key] = found->second;
  return hash_config(bits, {});
}

ConfigKeys config_keys_of_studies() {
  RunOptions defaults;
  return {config_keys(defaults.sections()), renamed_keys()};
}

std::vector<Setting> settings_of(const StudyRun& run) {
  std::vector<Setting> settings;
  for (const auto& [key, value] : run.settings) {
    Setting setting(key + "=" + value.toml);
    setting.written = value.source;
    settings.push_back(std::move(setting));
  }
  return settings;
}

std::vector<ResolvedRun> resolve(const Study& study) {
  return Resolver(study).resolve_all();
}

std::string resolved_base(const std::string& path) {
  RunOptions options = read_options(path, {}).options;
  return write_config(options.sections());
}

}  // namespace sculpt
