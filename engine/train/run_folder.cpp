#include "engine/train/run_folder.h"

#include <cerrno>
#include <unistd.h>

#include "engine/core/error.h"
#include "engine/train/config.h"

namespace sculpt {

namespace fs = std::filesystem;

fs::path RunFolder::rewind_checkpoint(int64_t epoch) const {
  return checkpoints() / fmt::format("rewind-epoch-{}.safetensors", epoch);
}

bool RunFolder::empty() const {
  std::error_code error;
  const fs::file_status status = fs::status(root_, error);
  if (!fs::exists(status)) return true;
  if (!fs::is_directory(status))
    fail("{} is not a folder; choose another with --out", root_.string());
  try {
    for (const auto& entry : fs::directory_iterator(root_))
      if (entry.path().extension() != kTemporarySuffix) return false;
  } catch (const fs::filesystem_error& e) {
    fail("cannot look into {}: {}", root_.string(), e.code().message());
  }
  return true;
}

bool RunFolder::finished() const {
  return fs::exists(summary()) && fs::exists(final_checkpoint());
}

void RunFolder::require_writable() const {
  fs::path nearest = fs::absolute(root_);
  std::error_code error;
  while (!fs::exists(fs::symlink_status(nearest, error)) && nearest.has_relative_path()) {
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory)
      fail("cannot make the folder {}: {}; choose another with --out", root_.string(),
           error.message());
    nearest = nearest.parent_path();
  }
  if (!fs::is_directory(nearest, error))
    fail("cannot make the folder {}: {} is not a folder; choose another with --out", root_.string(),
         nearest.string());
  if (access(nearest.c_str(), W_OK | X_OK) != 0)
    fail("cannot write to the folder {}: {}; choose another with --out", nearest.string(),
         std::generic_category().message(errno));
}

void RunFolder::prepare(const std::string& config_toml) const {
  const auto make = [](const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) fail("cannot make the folder {}: {}", folder.string(), error.message());
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == kTemporarySuffix) fs::remove(entry.path(), error);
  };
  // The config comes first: whatever else is in a run folder, it can be told whose it is.
  make(root_);
  write_file(config(), config_toml);
  make(checkpoints());
}

void require_same_config(const RunFolder& folder, const std::map<std::string, std::string>& values,
                         const std::set<std::string>& ignored) {
  const auto stored = flatten_config(read_text(folder.config()), folder.config().string());
  std::string differences;
  const auto compare = [&](const std::string& key, const std::string& before,
                           const std::string& now) {
    if (before != now && !ignored.count(key))
      differences += fmt::format("\n  {}: {} in the folder, {} now", key, before, now);
  };
  for (const auto& [key, now] : values) {
    const auto found = stored.find(key);
    compare(key, found == stored.end() ? "not set" : found->second, now);
  }
  for (const auto& [key, before] : stored)
    if (!values.count(key)) compare(key, before, "unknown");
  if (!differences.empty())
    fail("{} belongs to another config:{}\ngive the same config, or another folder with --out",
         folder.root().string(), differences);
}

}  // namespace sculpt
