#pragma once
// Starts a run on several ranks of this machine: sculpt_run --ranks N starts Open MPI's mpirun,
// which starts N processes of this program. Without MPI, another process of this program starts
// them (rank_starter.h).

#include <optional>
#include <string>

namespace sculpt {

/// Runs the command of this process (`argc`, `argv`) on `count` ranks, and waits for their end.
/// SIGINT, SIGTERM, SIGHUP and SIGUSR2 ask all ranks to save and end; signals within two seconds
/// count as one, and a later one ends them at once. A closed standard output asks them, too.
/// SIGTSTP pauses the ranks until this process is continued. The ranks do not outlive this process.
///
/// `ranks_by` is "mpi", "sockets", or "": by MPI if this program and the machine have it, else by
/// sockets.
///
/// Returns the exit code of this program. Throws UsageError if MPI has to be there and
/// is missing.
int run_ranks(int argc, char** argv, int count, const std::string& ranks_by);

/// How a launcher has ended.
struct LauncherEnd {
  int exit_code = 0;            ///< of the launcher
  std::optional<int> signal;    ///< which ended the launcher; the exit code does not count then
  int stop_requests = 0;        ///< how often the ranks were asked to end
  bool hung = false;            ///< true if it went on after all ranks had ended, and was ended
  std::string name = "mpirun";  ///< in messages
};

/// The exit code of this program, and what a person should know of it.
struct RunEnd {
  int exit_code = 0;
  std::string text;  ///< empty if the ranks have said everything themselves
};

/// Translates the exit code of a launcher, which is that of the first rank that failed, or
/// 128 + signal if a signal has ended the rank.
RunEnd translate(const LauncherEnd& end);

}  // namespace sculpt
