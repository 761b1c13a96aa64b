#pragma once
// The communicator of a run with one rank.

#include <memory>

#include "engine/dist/communicator.h"

namespace sculpt {

/// Returns a communicator of size 1. Sums and broadcasts leave their arrays as they are, and
/// all_gather() returns the one text.
std::unique_ptr<Communicator> single_communicator();

}  // namespace sculpt
