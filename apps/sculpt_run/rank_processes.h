#pragma once
// Looks at the processes of this program that are ranks.

#include <sys/types.h>
#include <vector>

namespace sculpt {

/// Returns the children of a process that run this program.
std::vector<pid_t> ranks_of(pid_t launcher);

/// Returns true if the process is a rank of this program that has not ended. A rank that has ended,
/// but that nobody has waited for, has no program.
bool is_alive(pid_t rank);

/// Returns true if the process has a handler for a signal. A process without one would be ended by
/// the signal.
bool handles(pid_t process, int signal);

}  // namespace sculpt
