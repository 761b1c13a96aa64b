#pragma once
// The communicator that the cases of this program share. main.cpp opens it.

#include "engine/dist/communicator.h"

namespace sculpt::test {

/// The cases of all ranks call the same functions in the same order. They use CHECK and never
/// REQUIRE, because a rank that leaves a case early would leave the others waiting.
Communicator& ranks();

}  // namespace sculpt::test
