#pragma once
// The rule behind execution.sparse = "auto": which kernels a pass of a layer runs on, as a pure
// function of the problem and the class of the machine. Nothing is timed and nothing is remembered,
// so the same config gives the same bits on every machine of a class. docs/results/kernel_rule.md
// compares steps under this rule with steps whose kernels were timed.

#include <cstdint>
#include <string_view>

#include "engine/ops/kernel_choice.h"

namespace sculpt::ops {

/// Classes of second-level cache sizes. The rule does not distinguish the sizes within a class.
enum class CacheClass { half_mib, one_mib, two_mib };

/// Returns half_mib for less than 768 KiB and for an unknown size (0 bytes), and two_mib from 1.5
/// MiB.
CacheClass cache_class(int64_t l2_bytes);

/// The properties of a machine that the rule uses.
struct Machine {
  std::string_view backend;  ///< name of the backend, which includes its instruction set
  int64_t l2_bytes = 0;      ///< size of one core's second-level cache; 0: unknown
  int threads = 1;           ///< no row uses it so far
};

/// Returns the machine that this process runs on, with kernels of the backend of this name.
Machine this_machine(std::string_view backend);

/// Returns the largest density, between 0 and 1, at which the rule considers kernels that skip
/// masked weights faster. problem.density is ignored.
double break_even_density(const PassProblem& problem, const Machine& machine);

/// Returns true if the rows that the rule uses on this machine were measured on a machine of its
/// class, which means the same instruction set and class of cache. Otherwise, the rule uses the
/// rows of the nearest class.
bool rule_was_measured(const Machine& machine);

/// Returns Choice::sparse up to the break-even density, and Choice::native above it.
kernels::Choice choose_by_rule(const PassProblem& problem, const Machine& machine);

}  // namespace sculpt::ops
