#pragma once
// Names ranks in messages, and prints the errors of ranks.

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "engine/dist/communicator.h"

namespace sculpt {

/// Returns host and process of the caller, with local rank 0.
RankPlace this_place();

/// Converts places to text and back, so that ranks can tell each other where they are.
std::string to_text(const RankPlace& place);
/// Reads the texts of all ranks, and counts the local ranks.
std::vector<RankPlace> places_of(const std::vector<std::string>& texts);

/// Returns the number of different hosts.
int count_hosts(const std::vector<RankPlace>& places);
/// Returns the number of ranks on the host of `rank`.
int ranks_on_host(const std::vector<RankPlace>& places, int rank);

/// Returns "rank 2 on node1 (process 4711)". The rank alone is named while places are unknown.
std::string name_of(int rank, const std::vector<RankPlace>& places);
/// The same for a rank whose place alone is known.
std::string name_of(int rank, const RankPlace& place);
/// Returns the names of several ranks as a list: "rank 1 on ... and rank 3 on ...". A list of many
/// ranks ends with the number of those left out.
std::string names_of(std::span<const int> ranks, const std::vector<RankPlace>& places);

/// A rank other than 0 waits for so long before it prints an error or ends the others. An error
/// that all ranks find then comes from rank 0 alone: a launcher needs up to two seconds to end the
/// other ranks after rank 0.
inline constexpr std::chrono::milliseconds kRootFirst(2500);

/// Prints "error: " and the text to standard error, with one call of the system, so that the lines
/// of several ranks do not mix. The line of a rank other than 0 begins with the name of the rank.
void print_error(int rank, const std::vector<RankPlace>& places, const std::string& text);

}  // namespace sculpt
