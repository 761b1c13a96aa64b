#pragma once
// Ensures that only one process at a time works in a run folder. The lock is the file run.lock,
// which names its holder. The holder touches the file every few seconds as a sign of life.
//
// The lock works on network file systems: it is created with link(2), which is atomic there, and
// ages are differences between times that the file system itself wrote, so two clocks are never
// compared.

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

/// Describes the process that a lock belongs to.
struct LockHolder {
  std::string host;
  std::string machine;  ///< boot id and process namespace, within which `pid` is unique
  int64_t pid = 0;
  int64_t start_tick = 0;  ///< start of the process in ticks since boot, because pids are reused
  std::string started;     ///< start of the process in UTC, for messages
  std::string token;       ///< random and different for each lock
  std::string folder;      ///< absolute path of the locked folder on `host`; "" if not recorded
};

/// The times of a lock. Tests use shorter ones.
struct LockTiming {
  std::chrono::milliseconds renewal = std::chrono::seconds(15);
  /// A holder on another machine counts as dead after this time without a sign of life.
  std::chrono::milliseconds stale = std::chrono::minutes(3);
};

class RunLock {
 public:
  /// Takes the lock of a folder, and creates the folder if it is missing. The call never waits. A
  /// lock whose holder has died is taken over: at once if the holder ran on this machine, otherwise
  /// after `timing.stale` without a sign of life. Throws Error that names the holder if the lock is
  /// held, and Error that names the folder if the folder cannot be created or written.
  explicit RunLock(std::filesystem::path folder, LockTiming timing = {});
  /// Releases the lock, and removes folders that the constructor created and that are still empty.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Throws Error if another process has taken the lock over, which happens to a process that was
  /// stopped for minutes. Reads the lock file. Call this before each write into the folder.
  void require_held();
  /// Makes the same check from the result of the last sign of life, without reading a file.
  void require_not_lost() const;

  /// Returns the dead process whose lock was taken over, if there was one.
  const std::optional<LockHolder>& previous_holder() const { return previous_; }

  /// The name of the lock file.
  static constexpr const char* kName = "run.lock";
  /// Returns true for the name of a lock, or of a lock that is being created or taken over.
  static bool is_lock_name(const std::string& name);

 private:
  void make_folder();
  void acquire();
  void remove_leftovers() const;
  void release();
  void renew_until_released();
  /// Touches the lock file, or records that the lock now belongs to another process. Expects mutex_
  /// to be held.
  void renew();

  std::filesystem::path folder_, path_;
  LockTiming timing_;
  LockHolder self_;
  std::optional<LockHolder> previous_;
  std::vector<std::filesystem::path> made_;  // folders that were created, the outermost first

  mutable std::mutex mutex_;
  std::condition_variable released_;
  bool release_asked_ = false;  // guarded by mutex_, like lost_
  std::string lost_;  // reason why another process has the lock; empty while this process has it
  std::thread renewal_;
};

}  // namespace sculpt
