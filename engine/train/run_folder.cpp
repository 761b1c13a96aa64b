#include "engine/train/run_folder.h"

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
  const bool nothing = fs::is_empty(root_, error);
  if (error) fail("cannot look into {}: {}", root_.string(), error.message());
  return nothing;
}

bool RunFolder::finished() const {
  return fs::exists(summary()) && fs::exists(final_checkpoint());
}

void RunFolder::prepare() const {
  std::error_code error;
  fs::create_directories(checkpoints(), error);
  if (error) fail("cannot make the run folder {}: {}", root_.string(), error.message());
  for (const fs::path& folder : {root_, checkpoints()})
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == kTemporarySuffix) fs::remove(entry.path(), error);
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
