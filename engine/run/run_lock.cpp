#include "engine/run/run_lock.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "engine/core/error.h"
#include "engine/run/lock_holder.h"
#include "kernels/common/start_thread.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;
using Nanoseconds = std::chrono::nanoseconds;

constexpr std::string_view kNew = ".new";
constexpr std::string_view kClaim = ".claim";
/// An attempt to take a lock that has just changed hands is repeated this often, with this pause.
constexpr int kAttempts = 50;
constexpr auto kPause = std::chrono::milliseconds(10);

Nanoseconds time_of(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail_to_lock(const fs::path& folder, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  fail("cannot write into the run folder {}: {}; {}, or choose another with --out", folder.string(),
       std::strerror(error), full ? "free some space" : "make it writable");
}

/// The content of a lock file, and the time of the holder's last sign of life according to the file
/// system.
struct Seen {
  std::string text;
  Nanoseconds touched{};
  std::optional<LockHolder> holder;  ///< nothing if the text is not a lock of Sculpt
};

/// Reads an open lock file. Returns nothing, with errno set, if that fails. The file is opened
/// again for each reading, because opening makes a network file system ask its server.
std::optional<Seen> read_lock(int fd) {
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) return std::nullopt;
  Seen seen;
  seen.touched = time_of(status.st_mtim);
  char part[1024];
  while (const ssize_t n = ::read(fd, part, sizeof part)) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    seen.text.append(part, static_cast<size_t>(n));
  }
  seen.holder = parse_holder(seen.text);
  return seen;
}

/// Throws Error if something other than a file stands at the path of the lock. The function opens
/// nothing, because opening a pipe would wait for its writer.
void require_lock_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status) || fs::is_regular_file(status)) return;
  fail(
      "{} is a {}, but a run needs this name for its lock, which is a file; move it away, or "
      "choose another folder with --out",
      path.string(),
      fs::is_directory(status) ? "folder"
      : fs::is_symlink(status) ? "symbolic link"
                               : "device or a pipe");
}

/// Creates a file that does not exist. Returns false, with errno set, if the file exists or cannot
/// be created.
bool create(const fs::path& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  const ssize_t written = ::write(fd, text.data(), text.size());
  int error = written < 0 ? errno : written == static_cast<ssize_t>(text.size()) ? 0 : ENOSPC;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error != 0) ::unlink(path.c_str());
  errno = error;
  return error == 0;
}

/// A complete lock file under a unique name. The destructor removes the file.
class OwnFile {
 public:
  OwnFile(const fs::path& folder, const LockHolder& self) : text_(to_json(self)) {
    static std::atomic<int> count = 0;
    path_ = folder / fmt::format("{}.{}-{}{}", RunLock::kName, self.token, count++, kNew);
    made_ = create(path_, text_);
    error_ = errno;
    // The file system's clock wrote this time just now.
    struct stat status {};
    if (made_ && ::stat(path_.c_str(), &status) == 0) now_ = time_of(status.st_mtim);
  }
  ~OwnFile() {
    if (made_) ::unlink(path_.c_str());
  }
  OwnFile(const OwnFile&) = delete;
  OwnFile& operator=(const OwnFile&) = delete;

  /// Returns 0, or the errno that says why the file could not be created.
  int error() const { return made_ ? 0 : error_; }
  Nanoseconds now() const { return now_; }

  /// Gives the file a second name if that name is free. Exactly one of several processes succeeds.
  /// The others get false, with errno set; EEXIST says that the name is taken.
  bool link_to(const fs::path& name) const {
    if (::link(path_.c_str(), name.c_str()) == 0) return true;
    const int error = errno;
    // A network file system may create the link, lose the answer, and report an error.
    struct stat status {};
    if (::stat(path_.c_str(), &status) == 0 && status.st_nlink == 2) return true;
    errno = error;
    const bool no_links =
        error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK;
    return no_links && create(name, text_);
  }

  /// Moves the file to the place of another one.
  bool rename_to(const fs::path& name) {
    if (::rename(path_.c_str(), name.c_str()) != 0) return false;
    made_ = false;
    return true;
  }

 private:
  fs::path path_;
  std::string text_;
  bool made_ = false;
  int error_ = 0;
  Nanoseconds now_{};
};

/// Takes a lock file, also from a dead holder.
class Taking {
 public:
  Taking(const fs::path& folder, const LockHolder& self, const LockTiming& timing)
      : folder_(folder), self_(self), timing_(timing) {}

  enum class Outcome { taken, held, changed };
  /// Returns `held` if the process `holder` is alive, and `changed` if another process is taking
  /// the lock at this moment; then try again.
  Outcome take(const fs::path& path) {
    {
      const OwnFile own(folder_, self_);
      if (own.error() == ENOENT) return Outcome::changed;  // the folder has been removed meanwhile
      if (own.error() != 0) fail_to_lock(folder_, own.error());
      if (own.link_to(path)) return Outcome::taken;
      if (errno == ENOENT) return Outcome::changed;
      if (errno != EEXIST) fail_to_lock(folder_, errno);
      require_lock_file(path);
      const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const auto seen = read_lock(file.get());
      if (!seen && (errno == ENOENT || errno == ESTALE)) return Outcome::changed;
      if (!seen)
        fail("cannot read the lock {}: {}; make it readable, or choose another folder with --out",
             path.string(), std::strerror(errno));
      silence = own.now() - seen->touched;
      if (!is_dead(path, *seen)) return Outcome::held;
    }
    // Only the process that holds the claim on a lock may replace that lock. A claim is a lock
    // itself, because the process that holds it may die, too.
    const fs::path claim = folder_ / fmt::format("{}.{}{}", RunLock::kName, holder.token, kClaim);
    const LockHolder dead = holder;
    if (take(claim) != Outcome::taken) return Outcome::changed;
    const Outcome outcome = replace(path, dead);
    ::unlink(claim.c_str());
    holder = dead;
    return outcome;
  }

  LockHolder holder;      ///< the holder of the lock file that exists
  Nanoseconds silence{};  ///< time since the holder's last sign of life

 private:
  bool is_dead(const fs::path& path, const Seen& seen) {
    if (!seen.holder) {
      // On a file system without links, a process may die between creating the file and writing
      // into it. A file with any other content was not written by Sculpt and must not be replaced.
      if (!seen.text.empty())
        fail(
            "{} is not a lock of a run; remove it if it is not needed, or choose another folder "
            "with --out",
            path.string());
      holder = LockHolder{
          .host = "unknown", .machine = "", .started = "unknown", .token = "0", .folder = ""};
      return silence > timing_.stale;
    }
    holder = *seen.holder;
    const Life life = life_of(holder);
    return life == Life::dead || (life == Life::unknown && silence > timing_.stale);
  }

  Outcome replace(const fs::path& path, const LockHolder& dead) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto seen = read_lock(file.get());
    const std::string token = seen && seen->holder ? seen->holder->token : "0";
    if (!seen || token != dead.token) return Outcome::changed;
    OwnFile own(folder_, self_);
    if (own.error() != 0 || !own.rename_to(path)) return Outcome::changed;
    return Outcome::taken;
  }

  const fs::path& folder_;
  const LockHolder& self_;
  const LockTiming& timing_;
};

[[noreturn]] void fail_because_held(const fs::path& folder, const std::string& folder_in_lock,
                                    const Taking& taking, const LockTiming& timing) {
  using std::chrono::duration_cast;
  using std::chrono::seconds;
  const LockHolder& holder = taking.holder;
  std::string text = fmt::format("{} is in use by process {} on {}, started {}", folder.string(),
                                 holder.pid, holder.host, holder.started);
  text += "; wait until it has ended, or choose another folder with --out";
  if (life_of(holder) == Life::unknown) {
    const auto left = duration_cast<seconds>(timing.stale - taking.silence);
    text += fmt::format(
        ". That process gave a sign of life {} s ago; if it has died, the folder will be free in "
        "{} s",
        duration_cast<seconds>(taking.silence).count(), std::max<int64_t>(left.count(), 0) + 1);
  }
  // One folder may have two paths, because of two hosts or a mount. Only the user can tell.
  if (!holder.folder.empty() && holder.folder != folder_in_lock)
    text += fmt::format(
        ". That process works in {}: if {} is a copy of that folder, remove the copied lock, {}",
        holder.folder, folder.string(), (folder / RunLock::kName).string());
  fail("{}", text);
}

/// Starts a thread to which no signal is delivered, so that signal handlers keep running in the
/// threads where they ran before.
template <class Body>
std::thread thread_without_signals(const Body& body) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread = start_thread("renews the lock of the run folder", body);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

bool RunLock::is_lock_name(const std::string& name) {
  if (name == kName) return true;
  const std::string prefix = std::string(kName) + ".";
  if (!name.starts_with(prefix)) return false;
  const std::string_view rest = std::string_view(name).substr(prefix.size());
  for (const std::string_view end : {kNew, kClaim})
    if (rest.ends_with(end) &&
        rest.substr(0, rest.size() - end.size()).find_first_not_of("0123456789abcdef-") ==
            std::string_view::npos)
      return true;
  return false;
}

RunLock::RunLock(fs::path folder, LockTiming timing)
    : folder_(std::move(folder)), path_(folder_ / kName), timing_(timing), self_(this_process()) {
  try {
    acquire();
  } catch (...) {
    for (auto made = made_.rbegin(); made != made_.rend(); ++made)
      ::rmdir(made->c_str());
    throw;
  }
  remove_leftovers();
  renewal_ = thread_without_signals([this] { renew_until_released(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard guard(mutex_);
    release_asked_ = true;
  }
  released_.notify_all();
  renewal_.join();
  release();
}

void RunLock::make_folder() {
  std::error_code error;
  if (fs::is_directory(folder_, error)) return;
  if (fs::exists(folder_, error))
    fail("{} is not a folder; choose another with --out", folder_.string());
  fs::path part;
  for (const fs::path& name : folder_) {
    part /= name;
    if (fs::create_directory(part, error)) made_.push_back(part);
    if (error)
      fail("cannot make the folder {}: {}; choose another with --out", folder_.string(),
           error.message());
  }
}

void RunLock::acquire() {
  Taking taking(folder_, self_, timing_);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(kPause);
    make_folder();
    self_.folder = path_in_lock(folder_);
    taking.holder = {};
    const Taking::Outcome outcome = taking.take(path_);
    if (outcome == Taking::Outcome::held) break;
    if (outcome == Taking::Outcome::changed) continue;
    if (!taking.holder.token.empty()) previous_ = taking.holder;
    return;
  }
  fail_because_held(folder_, self_.folder, taking, timing_);
}

void RunLock::remove_leftovers() const {
  std::error_code error;
  struct stat lock {};
  if (::stat(path_.c_str(), &lock) != 0) return;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    struct stat status {};
    // A newer file may belong to a process that is about to find out that the lock is held.
    if (name != kName && is_lock_name(name) && ::stat(entry.path().c_str(), &status) == 0 &&
        time_of(lock.st_mtim) - time_of(status.st_mtim) > timing_.stale)
      ::unlink(entry.path().c_str());
  }
}

void RunLock::release() {
  if (lost_.empty()) {
    const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    const auto seen = read_lock(file.get());
    if (seen && seen->holder && seen->holder->token == self_.token) ::unlink(path_.c_str());
  }
  for (auto made = made_.rbegin(); made != made_.rend(); ++made)
    ::rmdir(made->c_str());  // fails, as intended, if the folder is not empty
}

void RunLock::renew_until_released() {
  std::unique_lock guard(mutex_);
  while (!released_.wait_for(guard, timing_.renewal, [this] { return release_asked_; }))
    renew();
}

void RunLock::renew() {
  if (!lost_.empty()) return;
  const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  const int open_error = file.get() < 0 ? errno : 0;
  const auto seen = read_lock(file.get());
  if (seen && seen->holder && seen->holder->token == self_.token) {
    ::futimens(file.get(), nullptr);  // works on a full disk, too
  } else if (seen) {
    lost_ = seen->holder ? fmt::format("process {} on {}", seen->holder->pid, seen->holder->host)
                         : "something else";
    lost_ = fmt::format(
        "{} has been taken over by {}, because this process had been stopped for too long; nothing "
        "more is written into it",
        folder_.string(), lost_);
  } else if (open_error == ENOENT) {
    // Somebody removed the lock file by hand. The file is created again, unless the folder is gone,
    // too.
    const OwnFile own(folder_, self_);
    if (own.error() == ENOENT)
      lost_ = fmt::format("the run folder {} has been removed", folder_.string());
    else if (own.error() == 0)
      own.link_to(path_);
  }
  // Any other error of the file system says nothing about the lock. The next call tries again.
}

void RunLock::require_held() {
  const std::lock_guard guard(mutex_);
  renew();
  if (!lost_.empty()) fail("{}", lost_);
}

void RunLock::require_not_lost() const {
  const std::lock_guard guard(mutex_);
  if (!lost_.empty()) fail("{}", lost_);
}

}  // namespace sculpt
