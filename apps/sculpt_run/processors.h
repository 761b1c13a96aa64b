#pragma once
// Finds out how many processors this process may use.

#include <cstddef>
#include <string>
#include <vector>

namespace sculpt {

/// Returns the processors' worth of time that the control group of this process grants, rounded up;
/// the largest int if it has no limit.
int granted_processors();

/// Returns the numbers of the processors in the affinity mask of this process, ascending.
std::vector<int> processors_of_affinity();

/// The result of share_processors(): the processors of a machine, divided among its ranks.
struct SharedProcessors {
  int of_all = 1;   ///< processors that at least one of the ranks may use
  int of_rank = 1;  ///< threads for this rank, if ranks share the processors that several may use
};

/// `masks` has the processors that each rank of the machine may use, and masks[rank] those of this
/// rank. At most `granted` processors' worth of time is granted to all of them.
SharedProcessors share_processors(const std::vector<std::vector<int>>& masks, size_t rank,
                                  int granted);

/// Returns a warning for `ranks` ranks of a machine that start `threads` threads each, or "" if
/// there are enough processors.
std::string too_many_threads(int ranks, int threads, int processors);

}  // namespace sculpt
