#include "apps/sculpt_study/prepare.h"

#include <algorithm>
#include <map>
#include <set>

#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_study/run_pages.h"
#include "engine/core/files.h"
#include "engine/core/name_list.h"
#include "engine/run/stored_config.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder))
    throw UsageError(fmt::format("cannot make the folder {}: {}; choose another with --out",
                                 folder.string(), error.message()));
}

std::string text_of_file(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error) ? read_text(file) : "";
}

/// Writes a file unless it has this text. Elements of a job array write the same files at the same
/// time, and one of them may take the temporary file of another away.
void write_if_different(const fs::path& file, const std::string& text) {
  constexpr int kTries = 5;
  for (int attempt = 1;; ++attempt)
    try {
      if (text_of_file(file) == text) return;
      write_file(file, text);
      return;
    } catch (const Error&) {
      if (attempt == kTries) throw;
    }
}

/// Returns the path of each base config in the folder of the study, by the path that the study has.
std::map<std::string, std::string> write_bases(const Study& study) {
  std::map<std::string, std::string> names;
  const auto add = [&](const std::string& path, const std::string& name) {
    if (path.empty() || names.contains(path)) return;
    names[path] = name;
    write_if_different(study.folder / name, resolved_base(path));
  };
  add(study.base, "base.toml");
  for (const StudyVariant& variant : study.variants)
    add(variant.base, fmt::format("base-{}.toml", variant.name));
  return names;
}

/// The hash of a config that lies in a file; "" if there is no such file.
std::string hash_in(const fs::path& file) {
  const std::string text = text_of_file(file);
  return text.empty() ? "" : bits_hash(flatten_config(text, file.string(), renamed_keys()));
}

/// Throws UsageError if the folder holds a run with other settings.
void require_same_run(const ResolvedRun& run) {
  if (!is_run_folder(run.folder)) return;
  const ConfigValues stored = stored_config(RunFolder(run.folder), renamed_keys());
  if (bits_hash(stored) == run.hash) return;
  std::string keys;
  for (const auto& [key, value] : stored) {
    const auto now = run.values.find(key);
    const bool differs = now == run.values.end() || now->second != value;
    if (differs && key != "data.root") keys += (keys.empty() ? "" : ", ") + key;
  }
  throw UsageError(fmt::format(
      "{} holds a run with other settings ({}), so run {} of the study cannot go on in it; choose "
      "another folder with --out, or move that run away",
      run.folder.string(), keys, run.run.number));
}

/// Says which runs an earlier state of the study had. `place` says where they are now.
void say_left_out(const std::set<std::string>& names, const std::string& place) {
  constexpr size_t kMost = 3;
  if (names.empty()) return;
  note(fmt::format("the study has changed, and leaves out {} that it had before: {}; {}",
                   counted(static_cast<int64_t>(names.size()), "run"),
                   first_names(std::vector(names.begin(), names.end()), kMost), place));
}

/// Gives the folders of runs the names that the study has for them now.
void rename_folders(const Study& study, const std::vector<ResolvedRun>& runs) {
  const fs::path configs = study.folder / "configs";
  std::error_code error;
  if (!study.pool.empty() || !fs::is_directory(configs, error)) return;
  const auto name_is_used = [&](const std::string& name) {
    return std::ranges::any_of(runs, [&](const ResolvedRun& run) { return run.run.name == name; });
  };
  // Folders whose names have passed to another run, or that no run has any more, by their configs.
  std::map<std::string, fs::path> old_folders;
  for (const auto& entry : fs::directory_iterator(configs, error)) {
    const std::string name = entry.path().stem().string();
    const fs::path folder = study.folder / name;
    if (entry.path().extension() != ".toml" || !is_run_folder(folder)) continue;
    if (!name_is_used(name)) old_folders[hash_in(entry.path())] = folder;
  }
  for (const ResolvedRun& run : runs) {
    const auto found = old_folders.find(run.hash);
    if (found == old_folders.end() || fs::exists(run.folder, error)) continue;
    if (read_run(found->second, ReadRecords::results).status == RunStatus::running) continue;
    rename_in_analyses(found->second, run.folder.filename().string());
    // Another process may do the same at this moment. Then this run is found under its new name.
    fs::rename(found->second, run.folder, error);
    fs::remove(configs / (found->second.filename().string() + ".toml"), error);
    old_folders.erase(found);
  }
  std::set<std::string> left_out;
  for (const auto& [hash, folder] : old_folders)
    left_out.insert(folder.filename().string());
  say_left_out(left_out, fmt::format("they stay in {}", study.folder.string()));
}

/// Removes links into the pool that the study no longer has.
void remove_old_links(const Study& study, const std::vector<ResolvedRun>& runs) {
  if (study.pool.empty()) return;
  std::set<fs::path> used;  // run folders of the study as it is now
  std::set<std::string> names, left_out;
  for (const ResolvedRun& run : runs) {
    used.insert(fs::weakly_canonical(run.folder));
    names.insert(run.run.name);
  }
  std::error_code error;
  std::vector<fs::path> links;
  for (const auto& entry : fs::directory_iterator(study.folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool numbered = name.find_first_not_of("0123456789") >= 3;
    if (numbered && entry.is_symlink(error)) links.push_back(entry.path());
  }
  for (const fs::path& link : links) {
    // A link may have been made before its run was started.
    if (is_run_folder(link) && !used.contains(fs::weakly_canonical(link)))
      left_out.insert(link.filename().string());
    if (!names.contains(link.filename().string())) fs::remove(link, error);
  }
  say_left_out(left_out, fmt::format("their results stay in {}", study.pool));
}

/// Throws UsageError if the folder belongs to a run or to another study, whose results would be
/// mixed with those of this one. A study file may have moved to another folder meanwhile.
void require_same_study(const Study& study) {
  if (is_run_folder(study.folder))
    throw UsageError(fmt::format("{} is the folder of a run; choose another folder with --out",
                                 study.folder.string()));
  if (!is_study_folder(study.folder)) return;
  const Study before = read_study_folder(study.folder);
  const fs::path now = study.source.empty() ? study.file : study.source;
  if (before.source.empty() || fs::path(before.source).filename() == now.filename()) return;
  throw UsageError(
      fmt::format("{} is the folder of another study, {}; choose another folder with --out",
                  study.folder.string(), before.source));
}

}  // namespace

void prepare_folder(const Study& study, const std::vector<ResolvedRun>& runs) {
  require_same_study(study);
  const StudyFolder files(study.folder);
  for (const fs::path& folder :
       {study.folder, study.folder / "configs", study.folder / "logs", fs::path(study.pool)})
    if (!folder.empty()) make_folder(folder);
  rename_folders(study, runs);
  remove_old_links(study, runs);
  for (const ResolvedRun& run : runs)
    require_same_run(run);
  write_if_different(files.study(), to_toml(study, write_bases(study)));
  for (const ResolvedRun& run : runs) {
    write_if_different(files.config(run.run), run.config_toml);
    if (!study.pool.empty()) link_to_folder(run.run.folder, run.folder);
  }
}

StudyRunResult status_of(const Study& study, const ResolvedRun& run) {
  StudyRun real = run.run;
  real.folder = run.folder;
  return read_study_run(real, study.folder, ReadRecords::results, renamed_keys());
}

}  // namespace sculpt
