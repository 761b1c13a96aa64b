#pragma once
// Room for what a run folder held before: --restart moves the old run into earlier-<n>, and a
// finished run that is extended leaves its results there. Nothing in these folders is ever deleted.

#include <filesystem>

#include "engine/run/run_folder.h"

namespace sculpt {

/// Puts files of a run folder aside, all or none: until keep() is called, everything is put back at
/// the end, or by roll_back() after a kill.
class EarlierRun {
 public:
  /// Makes an empty folder <run folder>/earlier-<n>.partial with the first free n.
  explicit EarlierRun(const RunFolder& folder);
  ~EarlierRun();
  EarlierRun(const EarlierRun&) = delete;
  EarlierRun& operator=(const EarlierRun&) = delete;

  void move(const std::filesystem::path& file);
  /// The file stays where it is, too. It may be replaced, but must not be written into.
  void copy(const std::filesystem::path& file);
  /// From now on the files stay aside. Returns their folder, earlier-<n>.
  std::filesystem::path keep();

  /// Puts everything back that a killed process had put aside without having called keep().
  static void roll_back(const RunFolder& folder);

 private:
  std::filesystem::path place_of(const std::filesystem::path& file) const;

  std::filesystem::path root_, kept_, partial_;
  bool done_ = false;
};

}  // namespace sculpt
