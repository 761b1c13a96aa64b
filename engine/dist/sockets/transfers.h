#pragma once
// The algorithms of the operations.
//
//   small sums, barriers   every rank sends its array to rank 0, which adds up in the order of the
//                          ranks and sends the sum back: few messages one after another
//   large sums             a ring: the array is cut into as many chunks as there are ranks. Each
//                          chunk travels once around, and every rank adds its own values; then its
//                          sum travels once around. A link carries 2 (R - 1) / R of the bytes
//   broadcasts             from rank to rank around the ring, in pieces
//   collections of texts   to rank 0, which sends all of them to every rank
//
// The choice depends on the size of the array and on the number of ranks only, and so do the bits.

#include <cstddef>
#include <memory>

#include "engine/dist/carrier.h"
#include "engine/dist/sockets/team.h"

namespace sculpt::sockets {

/// The version of the algorithms of sums. A change of their bits needs another number.
constexpr int kAlgorithm = 1;

/// Arrays with more bytes are summed by the ring.
constexpr size_t kSmallSum = 8192;

/// Starts an operation.
std::unique_ptr<Transfer> start_transfer(const Team& team, const Operation& operation,
                                         const Identity& identity);

}  // namespace sculpt::sockets
