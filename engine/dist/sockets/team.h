#pragma once
// This rank and its connections: rank 0 has one to every other rank, and each rank has one to both
// of its neighbours in the ring of all ranks.

#include <chrono>
#include <memory>
#include <poll.h>
#include <vector>

#include "engine/dist/sockets/link.h"

namespace sculpt::sockets {

struct Team {
  int rank = 0, size = 1;
  std::vector<std::unique_ptr<Link>> links;  ///< by rank; null where there is no connection

  Link& link(int other) const { return *links[static_cast<size_t>(other)]; }
  /// The neighbours in the ring.
  int next() const { return (rank + 1) % size; }
  int previous() const { return (rank + size - 1) % size; }
};

/// Adds the files of all links, for poll().
void add_files(const Team& team, std::vector<pollfd>& files);

/// Sends and receives what can be sent and received. Waits until there is something, but not longer
/// than `time`.
void exchange_messages(const Team& team, std::chrono::milliseconds time);

/// Sends everything that waits to be sent, and closes the links after the other ends have done the
/// same. Without a `limit`, this can take for ever.
void close_links(const Team& team, std::optional<std::chrono::milliseconds> limit);

/// Tells all ranks to end with `exit_code`, and closes the links. Takes a second at most.
void tell_the_end(const Team& team, int exit_code);

/// Does what a message of tell_the_end() asks for: tells the other ranks, too, because the first
/// rank may have no connection to them, and throws EndedByOthers.
[[noreturn]] void obey_the_end(const Team& team, const Message& message);

}  // namespace sculpt::sockets
