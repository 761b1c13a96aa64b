// A program that starts itself on several ranks, as sculpt_run --ranks does. launcher_test.py
// starts it.
//
// usage: launched_ranks COUNT MODE [RANKS_BY]
//
// RANKS_BY is mpi or sockets.
//
// MODE says what the ranks do:
//   stop      make steps until a signal asks one of them to end; then all of them save the same
//   step stubborn  do not end when they are asked to late      catch signals only after a while
//   CODE      end at once, with this exit code

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/launcher.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/dist/launch.h"
#include "engine/dist/open_communicator.h"
#include "engine/dist/place.h"

namespace {

using namespace sculpt;

/// Returns the step after which all ranks ended.
int make_steps(Communicator& ranks, bool stubborn) {
  for (int step = 0;; ++step) {
    int64_t asked = interrupted() ? 1 : 0;
    ranks.all_reduce_sum(std::span(&asked, 1));
    if (asked > 0 && !stubborn) return step;
    if (step == 0) say("working\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

int work(const std::string& mode, const Launch& launch) {
  speak_as_rank(launch.rank, name_of(launch.rank, this_place()));
  if (mode == "late") std::this_thread::sleep_for(std::chrono::seconds(3));
  catch_interrupts(launch.rank > 0);
  const auto ranks = open_communicator(launch, {.liveness_seconds = 2, .collective_seconds = 5});
  for (const RankPlace& place : ranks->places())
    say("process {}\n", place.process);
  int code = std::atoi(mode.c_str());
  if (code == 0 && mode != "0") {
    const int step = make_steps(*ranks, mode == "stubborn");
    const auto steps = ranks->all_gather(std::to_string(step));
    say("saved step {} of {} ranks\n", step, steps.size());
    code = std::set(steps.begin(), steps.end()).size() == 1 ? kExitInterrupted : kExitFailed;
  }
  ranks->finish();
  return ranks->is_root() ? code : kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  try {
    const Launch launch = find_launch(process_environment());
    return launch.launcher.empty()
               ? run_ranks(argc, argv, std::atoi(argv[1]), argc > 3 ? argv[3] : "")
               : work(argv[2], launch);
  } catch (const std::exception& error) {
    say_error(error.what());
    return 1;
  }
}
