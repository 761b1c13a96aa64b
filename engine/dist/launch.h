#pragma once
// Finds out whether a launcher (mpirun, srun) has started this process as one of several ranks.

#include <map>
#include <optional>
#include <string>

namespace sculpt {

/// The variables of an environment.
using Environment = std::map<std::string, std::string>;

/// The description that a launcher gives of this process. A process that no launcher has started is
/// rank 0 of 1.
struct Launch {
  std::string launcher;  ///< in words for people: "Open MPI's mpirun"; empty if there was none
  int rank = 0;
  int size = 1;
  std::optional<int> local_rank;  ///< counts the ranks of the same host, where the launcher says it
};

/// Reads the variables of Sculpt itself (SCULPT_RANK, SCULPT_RANKS, SCULPT_LOCAL_RANK), of Open
/// MPI's mpirun (OMPI_COMM_WORLD_*), of MPICH's mpiexec and other launchers that speak PMI (PMI_*,
/// MPI_LOCALRANKID), and of a step of Slurm's srun (SLURM_*), in this order, because an mpirun may
/// run inside a Slurm job. The variables of a Slurm job without a step are those of its batch
/// script, which is one process. Throws Error naming a variable with an impossible value.
Launch find_launch(const Environment& environment);

/// Returns the environment of this process.
Environment process_environment();

/// Returns true if several ranks can be started from this process: no launcher has started it, or
/// srun has started it alone, as for an interactive shell of a job.
bool may_start_ranks(const Launch& launch);

/// Returns what is wrong if several ranks were started that cannot find each other, because no
/// variable tells them or MPI how; "" otherwise.
std::string connection_problem(const Launch& launch, const Environment& environment);

/// Throws Error if a launcher has started the process as one of another number of ranks than
/// `wanted`.
void require_size(const Launch& launch, int wanted);

}  // namespace sculpt
