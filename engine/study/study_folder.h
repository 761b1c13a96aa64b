#pragma once
// The folder of a study: where its files lie, and the names of runs in a pool.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/study/study.h"

namespace sculpt {

/// The paths of a study's files.
class StudyFolder {
 public:
  explicit StudyFolder(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path study() const;  ///< study.toml: the study with the choices of the command
  std::filesystem::path index() const;  ///< index.sqlite
  std::filesystem::path config(const StudyRun& run) const;  ///< configs/<run>.toml
  std::filesystem::path log(const StudyRun& run) const;     ///< logs/<run>.log
  /// logs/<run>.failed: the end of the log of a run that has failed.
  std::filesystem::path failure(const StudyRun& run) const;

 private:
  std::filesystem::path root_;
};

/// Returns the name of a run's folder in a pool: "cifar10-resnet20-lrr-sparsity0.9-s1-1a2b3c4d".
/// The name depends only on the resolved config (`values`: key -> TOML) and on `hash`, which is
/// that of all values that change the result. So two studies that want the same run find the same
/// folder.
std::string pool_name(const std::map<std::string, std::string>& values, const std::string& hash);

/// Makes `link` a relative symbolic link to the folder `target`, which need not exist. Throws Error
/// if something else has the name.
void link_to_folder(const std::filesystem::path& link, const std::filesystem::path& target);

/// Returns at most `lines` last lines of a text file; "" if it cannot be read.
std::string last_lines(const std::filesystem::path& file, size_t lines);

}  // namespace sculpt
