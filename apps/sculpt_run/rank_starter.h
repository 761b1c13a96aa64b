#pragma once
// Starts the ranks of a run on this machine without MPI. They find each other over sockets
// (engine/dist/sockets), at an address that other machines cannot reach.

#include <csignal>
#include <string>

#include "engine/dist/sockets/socket.h"

namespace sculpt {

/// The settings of the process that starts the ranks.
struct RankStart {
  char* const* words = nullptr;  ///< the command of a rank; the first is the program's path
  int count = 1;
  sockets::Socket listener;  ///< which rank 0 inherits
  sigset_t blocked{};        ///< the signals that are blocked in the ranks
};

/// Makes the socket at which rank 0 waits for the others. Throws Error.
sockets::Socket listen_for_ranks();

/// Starts the ranks and waits for their end, as mpirun does it: if one of them fails, the others
/// get two seconds to end by themselves. SIGTSTP stops the ranks, and SIGCONT continues them. All
/// of them end with this process. The process ends with the exit code of the rank that failed
/// first, or with 128 + signal; ranks that have ended because of another rank (76) count last.
[[noreturn]] void run_rank_starter(RankStart start);

}  // namespace sculpt
