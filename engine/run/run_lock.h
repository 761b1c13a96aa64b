#pragma once
// One process at a time in a run folder. The lock is the file run.lock, which names its holder, and
// which the holder touches every few seconds as a sign of life.
//
// The lock works on network file systems: it is made with link(2), which is atomic there, and ages
// are differences between times that the file system itself wrote, never readings of two clocks.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sculpt {

/// The process that a lock belongs to.
struct LockHolder {
  std::string host;
  std::string machine;  ///< boot id and process namespace: where `pid` means something
  int64_t pid = 0;
  int64_t start_tick = 0;  ///< start of the process in ticks since the boot: pids are used again
  std::string started;     ///< start of the process for people, in UTC
  std::string token;       ///< random, one for each lock that was ever taken
  std::string folder;      ///< the locked folder, an absolute path on `host`; "" if not recorded
};

/// Times of a lock. Tests shorten them.
struct LockTiming {
  std::chrono::milliseconds renewal = std::chrono::seconds(15);
  /// A holder that cannot be looked up counts as dead when it was silent for so long.
  std::chrono::milliseconds stale = std::chrono::minutes(3);
};

class RunLock {
 public:
  /// Takes the lock of a folder, and makes the folder if it is missing. The call never waits. A
  /// lock whose holder has died is taken over: at once if the holder ran on this machine, otherwise
  /// after `timing.stale` without a sign of life. Throws Error that names the holder if the lock is
  /// held, and Error that names the folder if it cannot be made or written.
  explicit RunLock(std::filesystem::path folder, LockTiming timing = {});
  /// Gives the lock back, and removes folders that the lock has made and that are still empty.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Throws Error if another process has taken the lock over, which happens to a process that was
  /// stopped for minutes. Reads the lock file; to be called before each write into the folder.
  void require_held();
  /// The same from what the last sign of life found, without reading a file.
  void require_not_lost() const;

  /// The dead process whose lock was taken over.
  const std::optional<LockHolder>& previous_holder() const { return previous_; }

  /// Name of the lock file.
  static constexpr const char* kName = "run.lock";
  /// Is this the name of a lock, or of one being made or taken over?
  static bool is_lock_name(const std::string& name);

 private:
  void make_folder();
  void acquire();
  void remove_leftovers() const;
  void release();
  void renew_until_released();
  /// Touches the lock file, or notes that it is no longer ours. Expects mutex_ to be held.
  void renew();

  std::filesystem::path folder_, path_;
  LockTiming timing_;
  LockHolder self_;
  std::optional<LockHolder> previous_;
  std::vector<std::filesystem::path> made_;  // folders, the outermost first

  mutable std::mutex mutex_;
  std::condition_variable released_;
  bool release_asked_ = false;  // under mutex_, like lost_
  std::string lost_;            // why the lock is not ours any more; empty while it is
  std::thread renewal_;
};

}  // namespace sculpt
