#pragma once
// Ranks that are threads of the test, so that code for several ranks runs without MPI.

#include <functional>

#include "engine/dist/shards.h"
#include "engine/dist/single.h"

namespace sculpt::testing {

/// Runs body(communicator) on `size` ranks and waits for them. Throws the first exception of a body
/// again. doctest's checks may be used outside of the bodies only.
inline void run_on_ranks(int size, const std::function<void(Communicator&)>& body) {
  const auto process = single_communicator();
  ShardGroup(*process, size).run(body);
}

}  // namespace sculpt::testing
