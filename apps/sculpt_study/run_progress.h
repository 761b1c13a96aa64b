#pragma once
// Follows the records of a run while another process writes them.

#include <cstdint>
#include <filesystem>
#include <string>

namespace sculpt {

class RunProgress {
 public:
  explicit RunProgress(const std::filesystem::path& run_folder);

  /// Reads the lines that metrics.jsonl has got since the last call.
  void update();

  int64_t epochs() const { return epochs_; }
  /// Returns the images per second of the last epoch; 0 before the first.
  double images_per_second() const { return images_per_second_; }
  /// Returns the last test accuracy that was measured; not a number before the first.
  double test_accuracy() const { return test_accuracy_; }

 private:
  void forget();

  std::filesystem::path file_;
  int64_t position_ = 0;  // in bytes; everything before it has been read
  int64_t epochs_ = 0;
  double images_per_second_ = 0;
  double test_accuracy_ = 0;
};

}  // namespace sculpt
