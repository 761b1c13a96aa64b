#pragma once
// The rule behind train.sparse = "auto": which kernels a pass of a layer runs on, as a pure
// function of the problem and the class of the machine. Nothing is timed and nothing is remembered,
// so the same config gives the same bits on every machine of a class. docs/results/kernel_rule.md
// compares steps under this rule with steps whose kernels were timed.

#include <cstdint>
#include <string_view>

#include "engine/ops/kernel_choice.h"

namespace sculpt::ops {

/// Second-level caches by size. The sizes within a class are not told apart.
enum class CacheClass { half_mib, one_mib, two_mib };

/// half_mib for less than 768 KiB, and where the size is unknown (0 bytes); two_mib from 1.5 MiB.
CacheClass cache_class(int64_t l2_bytes);

/// What the rule knows of a machine.
struct Machine {
  std::string_view backend;  ///< name of the backend, which names its instruction set
  int64_t l2_bytes = 0;      ///< of one core's second-level cache; 0: unknown
  int threads = 1;           ///< plays no part in any row so far
};

/// The machine that this process runs on, with kernels of the backend of this name.
Machine this_machine(std::string_view backend);

/// Largest density at which kernels that skip masked weights are held to be faster. Between 0 and
/// 1; problem.density plays no part in it.
double break_even_density(const PassProblem& problem, const Machine& machine);

/// Whether the rows that the rule uses on this machine were measured on a machine of its class: the
/// same instruction set and class of cache. If not, they are those of the nearest class.
bool rule_was_measured(const Machine& machine);

/// Choice::sparse up to the break-even density, else Choice::native.
kernels::Choice choose_by_rule(const PassProblem& problem, const Machine& machine);

}  // namespace sculpt::ops
