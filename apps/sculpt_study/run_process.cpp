#include "apps/sculpt_study/run_process.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt {
namespace {

constexpr int kNotStarted = 127;

constexpr int kCaught[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2};

/// While this object lives, no signal reaches this process. A signal that comes between fork() and
/// exec() would otherwise be lost in the handler of the program that forks.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { end(); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  void end() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

/// Replaces this process, which fork() has just made, by the program.
[[noreturn]] void become(const std::vector<std::string>& words, int log,
                         const std::string& visible_gpu, pid_t parent,
                         const BlockedSignals& blocked) {
  for (const int signal : kCaught) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) std::signal(signal, SIG_DFL);
  }
  blocked.end();
  // A Ctrl-C reaches only the study, which passes it on once.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kNotStarted);
  if (!visible_gpu.empty()) setenv("CUDA_VISIBLE_DEVICES", visible_gpu.c_str(), /*overwrite=*/1);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execv(arguments.front(), arguments.data());
  dprintf(STDERR_FILENO, "error: cannot start %s: %s\n", words.front().c_str(),
          std::strerror(errno));
  _exit(kNotStarted);
}

}  // namespace

RunProcess::RunProcess(const std::vector<std::string>& words, const std::filesystem::path& log,
                       const std::string& visible_gpu) {
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) fail("cannot write the log {}: {}", log.string(), std::strerror(errno));
  const pid_t self = getpid();
  {
    const BlockedSignals blocked;
    process_ = fork();
    if (process_ == 0) become(words, file, visible_gpu, self, blocked);
  }
  close(file);
  if (process_ < 0) fail("cannot start {}: {}", words.front(), std::strerror(errno));
}

RunProcess::~RunProcess() {
  if (look()) return;
  send(SIGTERM);
  int status = 0;
  while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
}

std::optional<ProcessEnd> RunProcess::look() {
  if (end_) return end_;
  int status = 0;
  const pid_t found = waitpid(process_, &status, WNOHANG);
  if (found != process_) return std::nullopt;
  if (WIFSIGNALED(status))
    end_ = ProcessEnd{128 + WTERMSIG(status), WTERMSIG(status)};
  else
    end_ = ProcessEnd{WEXITSTATUS(status), 0};
  return end_;
}

void RunProcess::send(int signal) const {
  if (end_) return;
  // Before the new process has made its own group, only the process itself can be reached.
  if (kill(-process_, signal) != 0) kill(process_, signal);
}

}  // namespace sculpt
