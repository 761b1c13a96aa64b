#pragma once
// Moves files of an older run out of the way. --restart moves the old run into the folder
// earlier-<n>, and a finished run that is extended leaves its results there. Nothing in such a
// folder is ever deleted.

#include <filesystem>

#include "engine/run/run_folder.h"

namespace sculpt {

/// Moves files of a run folder aside, either all of them or none. Unless keep() was called, the
/// destructor puts all files back; after a kill, roll_back() does.
class EarlierRun {
 public:
  /// Makes an empty folder <run folder>/earlier-<n>.partial with the first free n.
  explicit EarlierRun(const RunFolder& folder);
  ~EarlierRun();
  EarlierRun(const EarlierRun&) = delete;
  EarlierRun& operator=(const EarlierRun&) = delete;

  void move(const std::filesystem::path& file);
  /// Copies the file and leaves the original in its place. The original may be replaced, but must
  /// not be written into.
  void copy(const std::filesystem::path& file);
  /// Makes the move final. Returns the folder of the files, earlier-<n>.
  std::filesystem::path keep();

  /// Puts back everything that a killed process had moved aside without having called keep().
  static void roll_back(const RunFolder& folder);

 private:
  std::filesystem::path place_of(const std::filesystem::path& file) const;

  std::filesystem::path root_, kept_, partial_;
  bool done_ = false;
};

}  // namespace sculpt
