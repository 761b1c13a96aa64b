// Which launcher has started the process, told by the variables that launchers set.

#include "engine/dist/launch.h"

#include <cstdlib>
#include <doctest/doctest.h>
#include <vector>

#include "engine/core/error.h"
#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

struct Case {
  const char* what;
  Environment environment;
  const char* launcher;  ///< a part of the launcher's name; "" means that there is none
  int rank, size;
  int local_rank;  ///< -1: not known
};

const Environment kBatchJob = {
    {"SLURM_JOB_ID", "17"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}};

Environment with(Environment environment, const Environment& more) {
  for (const auto& [name, value] : more)
    environment[name] = value;
  return environment;
}

std::vector<Case> cases() {
  const Environment open_mpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                                {"OMPI_COMM_WORLD_SIZE", "4"},
                                {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}};
  const Environment step =
      with(kBatchJob, {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "2"}, {"SLURM_LOCALID", "1"}});
  return {
      {"a shell", {{"HOME", "/home/a"}, {"PATH", "/bin"}}, "", 0, 1, -1},
      {"nothing", {}, "", 0, 1, -1},
      {"Open MPI", open_mpi, "Open MPI", 3, 4, 1},
      {"Open MPI with one rank",
       {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}},
       "Open MPI",
       0,
       1,
       -1},
      {"Open MPI's mpirun in a step of Slurm, whose daemons srun starts", with(step, open_mpi),
       "Open MPI", 3, 4, 1},
      {"MPICH",
       {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"PMI_FD", "9"}},
       "MPICH",
       1,
       2,
       1},
      {"srun --mpi=pmi2", with(step, {{"PMI_RANK", "2"}, {"PMI_SIZE", "4"}}), "PMI", 2, 4, 1},
      {"srun", step, "srun", 2, 4, 1},
      {"our own variables, which somebody sets in a step or under an mpirun",
       with(with(step, open_mpi),
            {{"SCULPT_RANKS", "3"}, {"SCULPT_RANK", "1"}, {"SCULPT_LOCAL_RANK", "0"}}),
       "SCULPT_RANKS", 1, 3, 0},
      {"our own variables without a local rank",
       {{"SCULPT_RANKS", "2"}, {"SCULPT_RANK", "0"}},
       "SCULPT_RANKS",
       0,
       2,
       -1},
      {"srun with fewer tasks than its job", with(step, {{"SLURM_STEP_NUM_TASKS", "3"}}), "srun", 2,
       3, 1},
      {"the batch script of a job", kBatchJob, "", 0, 1, -1},
      {"a step that is not one", with(kBatchJob, {{"SLURM_STEP_ID", ""}}), "", 0, 1, -1},
  };
}

}  // namespace

TEST_CASE("launch: every launcher is known by its variables") {
  for (const Case& c : cases()) {
    CAPTURE(c.what);
    const Launch launch = find_launch(c.environment);
    if (c.launcher[0] == '\0')
      CHECK(launch.launcher.empty());
    else
      CHECK(launch.launcher.find(c.launcher) != std::string::npos);
    CHECK(launch.rank == c.rank);
    CHECK(launch.size == c.size);
    CHECK(launch.local_rank.value_or(-1) == c.local_rank);
  }
}

TEST_CASE("launch: impossible values are refused, and the variable is named") {
  const Environment good = {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}};
  const std::pair<const char*, const char*> bad[] = {
      {"OMPI_COMM_WORLD_RANK", "4"},      {"OMPI_COMM_WORLD_RANK", "-1"},
      {"OMPI_COMM_WORLD_RANK", ""},       {"OMPI_COMM_WORLD_RANK", "1x"},
      {"OMPI_COMM_WORLD_SIZE", "0"},      {"OMPI_COMM_WORLD_SIZE", "four"},
      {"OMPI_COMM_WORLD_SIZE", "1e1"},    {"OMPI_COMM_WORLD_SIZE", "99999999999"},
      {"OMPI_COMM_WORLD_LOCAL_RANK", "4"}};
  for (const auto& [name, value] : bad) {
    CAPTURE(name);
    CAPTURE(value);
    const std::string message = error_of([&, n = name, v = value] {
      find_launch(with(good, {{n, v}}));
    });
    CHECK(message.find(std::string("variable ") + name + " is '" + value + "'") !=
          std::string::npos);
  }
  CHECK(error_of([&] {
          find_launch({{"PMI_SIZE", "2"}});
        }).find("PMI_RANK is ''") != std::string::npos);
}

TEST_CASE("launch: ranks of srun need a way to find each other") {
  const Environment step = {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}};
  const auto problem = [](const Environment& environment) {
    return connection_problem(find_launch(environment), environment);
  };
  CHECK(problem(step).find("srun has started 4 ranks without PMIx") == 0);
  CHECK(problem(step).find("--mpi=pmix, or set SCULPT_RENDEZVOUS to file:FOLDER") !=
        std::string::npos);
  CHECK(problem(with(step, {{"SCULPT_RENDEZVOUS", "file:/shared"}})).empty());
  const Environment own = {{"SCULPT_RANKS", "4"}, {"SCULPT_RANK", "1"}};
  CHECK(problem(own).find("SCULPT_RANKS") != std::string::npos);
  CHECK(problem(own).find("set SCULPT_RENDEZVOUS to tcp:HOST:PORT") != std::string::npos);
  CHECK(problem(with(own, {{"SCULPT_RENDEZVOUS", "tcp:node1:4711"}})).empty());
  CHECK(problem({{"SCULPT_RANKS", "1"}, {"SCULPT_RANK", "0"}}).empty());
  CHECK(problem(with(step, {{"PMIX_RANK", "1"}})).empty());
  CHECK(problem(with(step, {{"PMI_FD", "7"}})).empty());
  CHECK(problem(with(step, {{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}})).empty());
  CHECK(problem({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}}).empty());
  CHECK(problem({}).empty());
}

TEST_CASE("launch: ranks are started where no launcher has started some") {
  const Environment alone = {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}};
  CHECK(may_start_ranks({}));
  CHECK(may_start_ranks(find_launch(alone)));  // an interactive shell of a job
  CHECK_FALSE(may_start_ranks(find_launch(with(alone, {{"SLURM_NTASKS", "2"}}))));
  CHECK_FALSE(
      may_start_ranks(find_launch({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}})));
}

TEST_CASE("launch: --ranks must agree with the launcher") {
  const Launch four = find_launch({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  CHECK_NOTHROW(require_size(four, 4));
  CHECK_NOTHROW(require_size(Launch{}, 4));  // the program itself starts the launcher then
  const std::string message = error_of([&] { require_size(four, 2); });
  CHECK(message.find("--ranks 2 contradicts Open MPI's mpirun, which has started 4 ranks") == 0);
}

TEST_CASE("launch: the environment of this process") {
  setenv("SCULPT_TEST_VARIABLE", "a=b", 1);
  const Environment environment = process_environment();
  unsetenv("SCULPT_TEST_VARIABLE");
  REQUIRE(environment.count("SCULPT_TEST_VARIABLE") == 1);
  CHECK(environment.at("SCULPT_TEST_VARIABLE") == "a=b");
}
