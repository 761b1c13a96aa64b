#pragma once
// How the ranks of a run find each other without MPI: the variable SCULPT_RENDEZVOUS says where
// rank 0 listens (tcp:HOST:PORT), or names a folder that all ranks see (file:FOLDER), in which
// rank 0 writes where it listens.
//
// Ranks of different runs must not meet. Each start of a job therefore has a name of its own, which
// is that of SCULPT_JOB, or of the job, the step and the number of restarts that Slurm tells. In a
// folder, the name is that of the file, and rank 0 writes a random token that the others repeat.
// Without a folder, the ranks repeat the name.

#include <optional>
#include <string>
#include <vector>

#include "engine/dist/launch.h"
#include "engine/dist/sockets/address.h"

namespace sculpt::sockets {

struct Rendezvous {
  std::string host;  ///< where rank 0 listens; empty with a folder
  int port = 0;
  std::string file;       ///< empty without a folder
  std::string token;      ///< which all ranks have; empty with a folder
  std::string interface;  ///< the interface to use (SCULPT_INTERFACE); empty: any
  int listener = -1;      ///< a socket that rank 0 inherits (SCULPT_LISTENER); -1: none
};

/// Reads the variables. Returns nothing if SCULPT_RENDEZVOUS is not set. Throws Error naming a
/// variable that is wrong or missing.
std::optional<Rendezvous> find_rendezvous(const Environment& environment);

/// The text that rank 0 writes into the file.
struct Invitation {
  std::string token;
  std::vector<Address> addresses;
};

/// Returns 128 random bits.
std::string random_token();

/// Writes the file of an invitation, whole or not at all, so that only the user can read it. A file
/// of an earlier start is replaced. Throws Error.
void write_invitation(const std::string& file, const Invitation& invitation);
/// Returns the invitation in a file, or nothing if there is no file or another text in it.
std::optional<Invitation> read_invitation(const std::string& file);

}  // namespace sculpt::sockets
