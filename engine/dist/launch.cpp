#include "engine/dist/launch.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt {
namespace {

/// The names of a launcher's variables. The first name of a pair is used if it is set.
struct Variables {
  const char* launcher;
  const char* needed;  ///< the launcher has started the process if this variable is set
  const char* rank;
  const char* size[2];
  const char* local_rank[2];
};

// Slurm sets SLURM_NTASKS for the whole job, and SLURM_STEP_NUM_TASKS for the step, which may be
// smaller. It sets SLURM_STEP_ID in steps only.
constexpr const char* kSrun = "Slurm's srun";
// Whoever starts ranks without MPI tells them so, as sculpt_run --ranks does.
constexpr const char* kOwn = "the launcher that has set SCULPT_RANKS";
constexpr const char* kRendezvous = "SCULPT_RENDEZVOUS";

constexpr Variables kLaunchers[] = {
    {kOwn, "SCULPT_RANKS", "SCULPT_RANK", {"SCULPT_RANKS", ""}, {"SCULPT_LOCAL_RANK", ""}},
    {"Open MPI's mpirun",
     "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_RANK",
     {"OMPI_COMM_WORLD_SIZE", ""},
     {"OMPI_COMM_WORLD_LOCAL_RANK", ""}},
    {"a launcher that speaks PMI (MPICH's mpiexec, srun --mpi=pmi2)",
     "PMI_SIZE",
     "PMI_RANK",
     {"PMI_SIZE", ""},
     {"MPI_LOCALRANKID", "SLURM_LOCALID"}},
    {kSrun,
     "SLURM_STEP_ID",
     "SLURM_PROCID",
     {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"},
     {"SLURM_LOCALID", ""}},
};

bool has(const Environment& environment, const char* name) {
  const auto found = environment.find(name);
  return found != environment.end() && !found->second.empty();
}

/// Returns the number in a variable. Throws Error if it is not a number in [low, high).
int number(const Environment& environment, const char* name, const char* launcher, int low,
           int high) {
  const auto found = environment.find(name);
  const std::string text = found == environment.end() ? "" : found->second;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < low ||
      value >= high)
    fail(
        "{} seems to have started this process, but the variable {} is '{}' and not a number from "
        "{} to {}; start the program again by mpirun or srun, or remove the variables of the "
        "launcher",
        launcher, name, text, low, high - 1);
  return value;
}

constexpr int kMostRanks = 1 << 20;

}  // namespace

Launch find_launch(const Environment& environment) {
  for (const Variables& names : kLaunchers) {
    if (!has(environment, names.needed)) continue;
    const auto first = [&](const char* const(&pair)[2]) {
      return pair[1][0] == '\0' || has(environment, pair[0]) ? pair[0] : pair[1];
    };
    Launch launch;
    launch.launcher = names.launcher;
    launch.size = number(environment, first(names.size), names.launcher, 1, kMostRanks);
    launch.rank = number(environment, names.rank, names.launcher, 0, launch.size);
    const char* const local = first(names.local_rank);
    if (has(environment, local))
      launch.local_rank = number(environment, local, names.launcher, 0, launch.size);
    return launch;
  }
  return {};
}

Environment process_environment() {
  Environment variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

bool may_start_ranks(const Launch& launch) {
  return launch.launcher.empty() || (launch.launcher == kSrun && launch.size == 1);
}

std::string connection_problem(const Launch& launch, const Environment& environment) {
  if (launch.size == 1 || has(environment, kRendezvous)) return "";
  if (launch.launcher == kOwn)
    return fmt::format(
        "the variable SCULPT_RANKS makes this process one of {} ranks, but no variable tells how "
        "they find each other; set {} to tcp:HOST:PORT, where rank 0 listens, or to file:FOLDER, a "
        "folder that all ranks see",
        launch.size, kRendezvous);
  if (launch.launcher != kSrun) return "";
  const bool connected = std::ranges::any_of(environment, [](const auto& variable) {
    return variable.first.starts_with("PMIX_") || variable.first.starts_with("PMI_");
  });
  if (connected) return "";
  return fmt::format(
      "srun has started {} ranks without PMIx, by which the ranks of Open MPI find each other; "
      "give srun the option --mpi=pmix, or set {} to file:FOLDER, a folder that all ranks see, "
      "which needs no MPI, or, for runs that are independent of each other, start each by a srun "
      "-n 1 of its own",
      launch.size, kRendezvous);
}

void require_size(const Launch& launch, int wanted) {
  if (launch.launcher.empty() || launch.size == wanted) return;
  fail(
      "--ranks {} contradicts {}, which has started {} {}; give the launcher that number, or leave "
      "--ranks out",
      wanted, launch.launcher, launch.size, launch.size == 1 ? "rank" : "ranks");
}

}  // namespace sculpt
