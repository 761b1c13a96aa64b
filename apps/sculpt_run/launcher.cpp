#include "apps/sculpt_run/launcher.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <set>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/rank_processes.h"
#include "apps/sculpt_run/rank_starter.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/dist/activity.h"
#include "engine/dist/mpi.h"

namespace sculpt {
namespace {

using Clock = std::chrono::steady_clock;

// The signal that asks ranks to save and end. Signals that a terminal or a batch system sends
// cannot be mistaken for it.
constexpr int kStop = SIGUSR2;
constexpr auto kBurst = std::chrono::seconds(2);
constexpr auto kEndsAtOnce = std::chrono::seconds(5);
constexpr auto kLookAtRanks = std::chrono::milliseconds(500);
// A launcher ends within two seconds of its ranks, and so do ranks that it has left.
constexpr auto kLauncherEnds = std::chrono::seconds(15);
constexpr auto kRanksEnd = std::chrono::seconds(10);
constexpr timespec kLook = {0, 50'000'000};  // 50 ms
constexpr const char* kInstall =
    "install the packages openmpi-bin and libopenmpi-dev, or give --ranks-by sockets";

/// Settings of Open MPI, which the environment may already contain.
constexpr std::array<std::pair<const char*, const char*>, 2> kSettings = {{
    // Ranks that wait leave their processor to others. Open MPI would do this by itself only if it
    // knew that there are more ranks than processors.
    {"OMPI_MCA_mpi_yield_when_idle", "1"},
    // SIGTSTP and SIGCONT reach the ranks.
    {"OMPI_MCA_orte_forward_job_control", "1"},
}};

/// Returns the path of mpirun; "" if PATH has none.
std::string find_mpirun() {
  const char* const path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  for (size_t begin = 0; begin <= folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string file = folders.substr(begin, end - begin) + "/mpirun";
    if (access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return "";
}

/// Returns true if mpirun starts the ranks. Throws UsageError if it has to and cannot.
bool chooses_mpi(const std::string& ranks_by) {
  if (ranks_by == "sockets") return false;
  const std::string problem = mpi_problem();
  const bool is_there = !find_mpirun().empty();
  if (ranks_by.empty()) return problem.empty() && is_there;
  if (!problem.empty())
    throw UsageError(
        fmt::format("--ranks-by mpi needs MPI: {}; or give --ranks-by sockets", problem));
  if (!is_there)
    throw UsageError(
        fmt::format("--ranks-by mpi needs Open MPI's mpirun, and PATH has none; {}", kInstall));
  return true;
}

/// Returns the command of mpirun, up to the program.
std::vector<std::string> mpirun_words(int count) {
  std::vector<std::string> words = {find_mpirun(), "-n",   std::to_string(count),
                                    "--bind-to",   "none", "--oversubscribe"};
  // mpirun refuses to run as root, because a mistake of a program does more harm then. Whoever runs
  // this program as root has accepted that.
  if (geteuid() == 0) words.emplace_back("--allow-run-as-root");
  return words;
}

/// Makes the new process that of a launcher: mpirun, or one that starts the ranks itself. Only
/// functions that POSIX allows after fork() are called.
///
/// mpirun would answer SIGTERM and SIGINT by ending the ranks within a second, which is too short
/// to save. A batch system sends them to all processes of a job, mpirun included. They are
/// therefore blocked in the launcher, which unblocks them in the ranks; `blocked` has them.
void prepare_launcher(const sigset_t& blocked, pid_t parent, int no_input) {
  // The terminal's signals are for the parent, which decides what they mean.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExitFailed);
  dup2(no_input, STDIN_FILENO);
  sigprocmask(SIG_SETMASK, &blocked, nullptr);
}

/// Returns true if the reader of the standard output has gone away. mpirun goes on then, and does
/// not tell the ranks.
bool output_is_closed() {
  pollfd output{STDOUT_FILENO, 0, 0};
  return poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0;
}

bool is_ignored(int signal) {
  struct sigaction action {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

/// The signals that this process waits for, blocked while the object lives.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, kStop, SIGTSTP, SIGCHLD})
      sigaddset(&set_, signal);
    if (!is_ignored(SIGHUP)) sigaddset(&set_, SIGHUP);
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  ~Signals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// The signals that were blocked before.
  const sigset_t& before() const { return before_; }
  /// The signals that a launcher does not see.
  sigset_t blocked_in_launcher() const {
    sigset_t blocked = before_;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
      sigaddset(&blocked, signal);
    return blocked;
  }
  /// Returns the next signal, or 0 after a short time without one.
  int next() const {
    const int signal = sigtimedwait(&set_, nullptr, &kLook);
    return signal > 0 ? signal : 0;
  }

 private:
  sigset_t set_, before_;
};

/// The launcher while it runs.
class Launcher {
 public:
  Launcher(pid_t pid, const char* name, int count, const Signals& signals)
      : pid_(pid), name_(name), count_(static_cast<size_t>(count)), signals_(signals) {}

  /// Passes signals on until the launcher has ended.
  LauncherEnd wait() {
    for (;;) {
      const int signal = signals_.next();
      if (signal == SIGTSTP)
        pause();
      else if (signal != 0 && signal != SIGCHLD)
        request(signal);
      if (requests_ == 0 && output_is_closed()) {
        err().print("standard output was closed; stopping after this step\n");
        request(SIGPIPE);
      }
      deliver();
      look_at_ranks();
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) != pid_) continue;
      end_ranks();
      LauncherEnd end{0, {}, requests_, hangs_, name_};
      if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
      if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
      return end;
    }
  }

  /// Returns the signal that asked for the end last; 0 if there was none.
  int last_signal() const { return last_signal_; }

 private:
  void request(int signal) {
    const auto now = Clock::now();
    if (requests_ > 0 && now - first_request_ < kBurst) return;
    if (requests_ == 0) first_request_ = now;
    ++requests_;
    reached_.clear();
    last_request_ = now;
    last_signal_ = signal;
  }

  /// Sends the newest request to the ranks that it has not reached yet. A rank that has just been
  /// started gets it as soon as it can handle it.
  void deliver() {
    if (requests_ == 0) return;
    if (reached_.size() < count_)
      for (const pid_t rank : ranks_of(pid_))
        if (reached_.count(rank) == 0 && handles(rank, kStop)) {
          kill(rank, kStop);
          reached_.insert(rank);
        }
    // The ranks end with their launcher, at the latest.
    if (requests_ > 1 && Clock::now() - last_request_ > kEndsAtOnce) kill(pid_, SIGKILL);
  }

  /// Remembers the ranks, and ends a launcher that goes on for long after all of them have ended.
  void look_at_ranks() {
    const auto now = Clock::now();
    if (ranks_.size() == count_ && now - looked_ < kLookAtRanks) return;
    looked_ = now;
    for (const pid_t rank : ranks_of(pid_))
      ranks_.insert(rank);
    // A launcher also goes on while nobody reads the output that it still has, as in a pager.
    const bool goes_on = ranks_.empty() || std::ranges::any_of(ranks_, is_alive) ||
                         is_full(STDOUT_FILENO) || is_full(STDERR_FILENO);
    if (goes_on) alive_ = now;
    if (now - alive_ < kLauncherEnds) return;
    hangs_ = true;
    kill(pid_, SIGKILL);
  }

  /// Returns when no rank is alive. Ranks notice the end of their launcher, and those that do not
  /// are ended.
  void end_ranks() {
    const auto begin = Clock::now();
    for (const pid_t rank : ranks_of(getpid()))  // those that the launcher has left
      ranks_.insert(rank);
    while (std::ranges::any_of(ranks_, is_alive)) {
      if (Clock::now() - begin > kRanksEnd)
        for (const pid_t rank : ranks_)
          if (is_alive(rank)) kill(rank, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  void pause() {
    kill(pid_, SIGTSTP);
    raise(SIGSTOP);  // returns when this process is continued
    kill(pid_, SIGCONT);
  }

  const pid_t pid_;
  const char* const name_;
  const size_t count_;
  const Signals& signals_;
  int requests_ = 0, last_signal_ = 0;
  std::set<pid_t> ranks_;                   ///< all that were seen
  bool hangs_ = false;                      ///< true if the launcher did not end after the ranks
  Clock::time_point looked_;                ///< when the ranks were last looked at
  Clock::time_point alive_ = Clock::now();  ///< when the launcher last had a reason to go on
  std::set<pid_t> reached_;                 ///< the ranks that have got the newest request
  Clock::time_point first_request_, last_request_;
};

}  // namespace

RunEnd translate(const LauncherEnd& end) {
  constexpr const char* kResume = "the last good checkpoint is intact; go on with --resume";
  if (end.hung)
    return {kExitRankLost, fmt::format("{} went on although all ranks had ended, and was ended; {}",
                                       end.name, kResume)};
  if (end.signal)
    return {kExitRankLost, fmt::format("{} was ended by signal {} ({}), and the ranks with it; {}",
                                       end.name, *end.signal, strsignal(*end.signal), kResume)};
  const int code = end.exit_code;
  for (const int own : {kExitOk, kExitFailed, kExitUsage, kExitInterrupted, kExitRankLost})
    if (code == own) return {code, {}};
  if (code == 128 + kStop && end.stop_requests > 1)
    return {kExitInterrupted, "ended at once; go on with --resume"};
  if (code > 128 && code < 128 + NSIG)
    return {kExitRankLost, fmt::format("a rank was ended by signal {} ({}); {}", code - 128,
                                       strsignal(code - 128), kResume)};
  return {kExitFailed, fmt::format("{} has ended with exit code {}", end.name, code)};
}

int run_ranks(int argc, char** argv, int count, const std::string& ranks_by) {
  const bool by_mpi = chooses_mpi(ranks_by);
  std::vector<std::string> words = by_mpi ? mpirun_words(count) : std::vector<std::string>{};
  words.push_back(std::filesystem::read_symlink("/proc/self/exe").string());
  words.insert(words.end(), argv + 1, argv + argc);
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  if (by_mpi) {
    for (const auto& [name, value] : kSettings)
      setenv(name, value, 0);
    // The ranks of mpirun find each other by MPI.
    unsetenv("SCULPT_RENDEZVOUS");
  }
  // The ranks write to a pipe or to a terminal of mpirun, whose width is not that of this one.
  setenv("COLUMNS", std::to_string(out().width()).c_str(), 1);
  const int no_input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  sockets::Socket listener = by_mpi ? sockets::Socket() : listen_for_ranks();

  const Signals signals;
  const sigset_t blocked = signals.blocked_in_launcher();
  const pid_t parent = getpid();
  const char* const name = by_mpi ? "mpirun" : "the process that starts the ranks";
  // Ranks whose launcher has gone become children of this process.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t child = fork();
  if (child < 0) fail("cannot start {}: {}", name, std::strerror(errno));
  if (child == 0) {
    prepare_launcher(blocked, parent, no_input);
    if (!by_mpi) run_rank_starter({pointers.data(), count, std::move(listener), signals.before()});
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  close(no_input);
  listener = {};
  Launcher launcher(child, name, count, signals);
  const LauncherEnd end = launcher.wait();
  const RunEnd result = translate(end);
  if (!result.text.empty()) {
    if (result.exit_code == kExitInterrupted)
      say("{}\n", result.text);
    else
      say_error(result.text);
  }
  if (end.stop_requests > 1 && (end.signal || end.exit_code >= 128)) {
    // This process ends as a program ends that the signal has ended.
    std::signal(launcher.last_signal(), SIG_DFL);
    raise(launcher.last_signal());
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, nullptr);
  }
  return result.exit_code;
}

}  // namespace sculpt
