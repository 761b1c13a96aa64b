#include "apps/sculpt_run/rank_starter.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/dist/communicator.h"
#include "engine/dist/sockets/rendezvous.h"

namespace sculpt {
namespace {

using Clock = std::chrono::steady_clock;

// Ranks that find a rank lost end within two seconds. A message that all ranks have comes from
// rank 0 alone, because the others wait for longer before they say it (say_error).
constexpr auto kEndByThemselves = std::chrono::seconds(2);
constexpr timespec kLook = {0, 50'000'000};  // 50 ms

void set_variable(const char* name, const std::string& value) {
  setenv(name, value.c_str(), /*overwrite=*/1);
}

[[noreturn]] void become_rank(const RankStart& start, int rank, pid_t starter) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != starter) _exit(kExitFailed);
  set_variable("SCULPT_RANK", std::to_string(rank));
  set_variable("SCULPT_LOCAL_RANK", std::to_string(rank));
  if (rank == 0) {
    set_variable("SCULPT_LISTENER", std::to_string(start.listener.file()));
    fcntl(start.listener.file(), F_SETFD, 0);
  }
  sigprocmask(SIG_SETMASK, &start.blocked, nullptr);
  execv(start.words[0], start.words);
  _exit(127);
}

/// The ranks while they run.
class Ranks {
 public:
  explicit Ranks(const RankStart& start) {
    const pid_t self = getpid();
    for (int rank = 0; rank < start.count; ++rank) {
      const pid_t process = fork();
      if (process == 0) become_rank(start, rank, self);
      if (process < 0) {
        say_error(
            fmt::format("cannot start rank {} of {}: {}", rank, start.count, std::strerror(errno)));
        fail_with(kExitFailed);
        return;
      }
      running_.push_back({rank, process});
    }
  }

  bool are_running() const { return !running_.empty(); }

  void send(int signal) const {
    for (const Running& one : running_)
      kill(one.process, signal);
  }

  /// Takes the ranks that have ended, and ends those that go on for long after one has failed.
  void look() {
    int status = 0;
    for (pid_t process; (process = waitpid(-1, &status, WNOHANG)) > 0;) {
      const auto found = std::ranges::find(running_, process, &Running::process);
      if (found == running_.end()) continue;
      const int rank = found->rank;
      running_.erase(found);
      if (WIFSIGNALED(status)) {
        // The ranks say why they end each other. Perhaps nobody else has seen this end.
        if (!failed_since_)
          say_error(fmt::format("rank {} (process {}) was ended by signal {} ({})", rank, process,
                                WTERMSIG(status), strsignal(WTERMSIG(status))));
        fail_with(128 + WTERMSIG(status));
      } else if (WEXITSTATUS(status) != 0) {
        fail_with(WEXITSTATUS(status));
      }
    }
    if (!failed_since_ || Clock::now() - *failed_since_ < kEndByThemselves) return;
    ended_here_ = true;
    send(SIGKILL);
  }

  int exit_code() const { return exit_code_; }

 private:
  struct Running {
    int rank = 0;
    pid_t process = 0;
  };

  void fail_with(int code) {
    if (ended_here_) return;
    if (!failed_since_) failed_since_ = Clock::now();
    if (exit_code_ == 0 || exit_code_ == kExitRankLost) exit_code_ = code;
  }

  std::vector<Running> running_;
  std::optional<Clock::time_point> failed_since_;
  bool ended_here_ = false;  ///< true if this process has ended the ranks that are left
  int exit_code_ = 0;
};

}  // namespace

sockets::Socket listen_for_ranks() {
  return sockets::listen_at(sockets::resolve("127.0.0.1", 0).front());
}

void run_rank_starter(RankStart start) {
  sigset_t waited_for;
  sigemptyset(&waited_for);
  for (const int signal : {SIGCHLD, SIGTSTP, SIGCONT, SIGUSR2})
    sigaddset(&waited_for, signal);
  sigprocmask(SIG_BLOCK, &waited_for, nullptr);
  prctl(PR_SET_NAME, "sculpt_ranks");
  set_variable("SCULPT_RANKS", std::to_string(start.count));
  set_variable("SCULPT_RENDEZVOUS", "tcp:" + sockets::local_address(start.listener).text());
  set_variable("SCULPT_JOB", sockets::random_token());
  for (const char* other : {"SCULPT_INTERFACE", "SCULPT_LISTENER"})
    unsetenv(other);

  Ranks ranks(start);
  start.listener = {};
  while (ranks.are_running()) {
    // SIGUSR2 comes from batch systems that signal all processes. It is for the ranks.
    const int signal = sigtimedwait(&waited_for, nullptr, &kLook);
    if (signal == SIGTSTP) ranks.send(SIGSTOP);
    if (signal == SIGCONT) ranks.send(SIGCONT);
    ranks.look();
  }
  _exit(ranks.exit_code());
}

}  // namespace sculpt
