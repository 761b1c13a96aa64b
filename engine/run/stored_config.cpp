#include "engine/run/stored_config.h"

#include <vector>

#include "engine/config/config.h"
#include "engine/core/file_format.h"
#include "engine/core/files.h"
#include "engine/formats/safetensors.h"
#include "engine/run/checkpoint.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;
using Values = std::map<std::string, std::string>;

/// Returns what a person can do, as the end of a message.
std::string fix(const RunFolder& folder, const char* put_back) {
  return fmt::format("{}, or start over with sculpt_run CONFIG.toml --out {} --restart", put_back,
                     folder.root().string());
}

/// Returns the hash of the config that a checkpoint was written under; "" if it cannot be read. A
/// newer program may compute hashes in another way.
std::string config_hash_of(const fs::path& checkpoint) try {
  const auto file = safetensors::File::read(checkpoint, /*require_checksum=*/true);
  const std::string& format = file.metadata("format");
  for (const FileFormat& known : {kCheckpointFormat, kStateFormat})
    if (age_of(format, known) == FormatAge::newer) return "";
  return file.metadata("config_hash");
} catch (const Error&) {
  return "";
}

/// Returns the part of a message that names keys; "" if there are none.
std::string missing_text(const std::set<std::string>& keys) {
  if (keys.empty()) return "";
  if (keys.size() == 1) return fmt::format(" (the key {} is missing)", *keys.begin());
  return fmt::format(" ({} keys are missing, {} among them)", keys.size(), *keys.begin());
}

}  // namespace

Values stored_config(const RunFolder& folder, RenamedKeys renamed) {
  const std::string name = folder.config().string();
  const std::string what_to_do = fix(folder, "put a good copy of the file back");
  Values values;
  try {
    values = flatten_config(read_text(folder.config()), name, renamed);
  } catch (const NewerFormat&) {
    throw;
  } catch (const Error& error) {
    fail("the config of the run folder is damaged: {}; {}", error.what(), what_to_do);
  }
  if (values.empty())
    fail("{} is empty, but should hold the config of the run; {}", name, what_to_do);
  return values;
}

void require_config_of_checkpoints(const RunFolder& folder, const std::string& now,
                                   const std::set<std::string>& missing) {
  // A file that can be read quickly comes first. The others are read only if its hash differs.
  std::vector<fs::path> checkpoints = {folder.end_state()};
  for (const auto& [number, path] : folder.states())
    checkpoints.push_back(path);
  checkpoints.push_back(folder.final_checkpoint());
  std::string other;
  for (const fs::path& path : checkpoints) {
    const std::string hash = config_hash_of(path);
    if (hash == now) return;
    if (!hash.empty() && other.empty()) other = path.string();
  }
  if (other.empty()) return;
  fail("{} is not the config that {} was written under: it was edited or damaged{}; {}",
       folder.config().string(), other, missing_text(missing),
       fix(folder, "put the file back as it was and give changes with --set"));
}

}  // namespace sculpt
