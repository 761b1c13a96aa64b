#pragma once
// The communicator of a run with one rank.

#include <memory>

#include "engine/dist/communicator.h"

namespace sculpt {

/// Returns the communicator of a process that computes alone, which all callers share. Settings
/// that name no other communicator use it, so that no code asks whether there are several ranks.
Communicator& one_rank();

/// Returns a communicator of size 1. Sums and broadcasts leave their arrays as they are, and
/// all_gather() returns the one text.
std::unique_ptr<Communicator> single_communicator();

}  // namespace sculpt
