#include "apps/sculpt_study/isolated.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apps/common/failure_text.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

constexpr int kThrew = 3;

void write_all(int file, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(file, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) _exit(kThrew);
    if (written > 0) done += static_cast<size_t>(written);
  }
}

std::string read_all(int file) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(file, buffer, sizeof buffer);
    if (count == 0) return text;
    if (count < 0 && errno != EINTR) return text;
    if (count > 0) text.append(buffer, static_cast<size_t>(count));
  }
}

[[noreturn]] void work_in_copy(const std::function<std::string()>& work, int file) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    write_all(file, work());
    _exit(0);
  } catch (const std::exception& error) {
    write_all(file, failure_text(error));
    _exit(kThrew);
  }
}

}  // namespace

std::string in_other_process(const std::function<std::string()>& work) {
  int ends[2];
  if (pipe(ends) != 0) fail("cannot make a pipe: {}", std::strerror(errno));
  const pid_t copy = fork();
  if (copy < 0) fail("cannot start a process: {}", std::strerror(errno));
  if (copy == 0) {
    close(ends[0]);
    work_in_copy(work, ends[1]);
  }
  close(ends[1]);
  std::string text = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(copy, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kThrew) fail("{}", text);
  if (WIFSIGNALED(status))
    fail(
        "the process that checks the runs was ended by signal {} ({}); perhaps a network is too "
        "large for this machine's memory",
        WTERMSIG(status), strsignal(WTERMSIG(status)));
  fail("the process that checks the runs ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace sculpt
