// A job on several ranks in which one rank misbehaves. faults_test.py starts it.
//
// usage: fault_ranks LIVENESS_SECONDS COLLECTIVE_SECONDS STEPS RANK FAULT
//
// Each step is a sum, checked against what all ranks put in. In the middle, the root prints "fault"
// and the seconds of the machine's monotonic clock, and rank RANK does FAULT:
//   none      nothing; the test sends signals to the rank
//   hang      sleeps for ever instead of the sum
//   spin      computes for ever instead of the sum
//   slow      computes for twice LIVENESS_SECONDS before the sum
//   exit      ends with exit code 5, and leaves the communicator as it is
//   leave     destroys the communicator without finish()
//   abort     ends all ranks with exit code 9 and a reason
//   apart     calls something that the other ranks do not call; MPI adds up other things in silence
//   shared    every rank finds the same error and ends all ranks with exit code 8

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "engine/dist/launch.h"
#include "engine/dist/open_communicator.h"

namespace {

using Clock = std::chrono::steady_clock;

void compute_for(double seconds) {
  volatile double x = 1;
  const auto begin = Clock::now();
  while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds)
    for (int i = 0; i < 1000; ++i)
      x = x * 0.999 + 1;
}

void misbehave(const std::string& fault, double liveness,
               std::unique_ptr<sculpt::Communicator>& ranks) {
  if (fault == "hang")
    for (;;)
      pause();
  if (fault == "spin") compute_for(1e9);
  if (fault == "slow") compute_for(2 * liveness);
  if (fault == "exit") _exit(5);
  if (fault == "leave") ranks.reset();
  if (fault == "abort") ranks->abort(9, "a reason");
  if (fault == "apart") {
    std::vector<std::byte> bytes(4000);
    ranks->broadcast(bytes, ranks->rank());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const double liveness = std::atof(argv[1]), collective = std::atof(argv[2]);
  const int steps = std::atoi(argv[3]), faulty = std::atoi(argv[4]);
  const std::string fault = argv[5];
  auto ranks =
      sculpt::open_communicator(sculpt::find_launch(sculpt::process_environment()),
                                {.liveness_seconds = liveness, .collective_seconds = collective});
  if (ranks->is_root()) {
    for (const auto& place : ranks->places())
      std::printf("process %lld on %s\n", static_cast<long long>(place.process),
                  place.host.c_str());
    std::fflush(stdout);
  }
  const int size = ranks->size();
  for (int step = 0; step < steps; ++step) {
    if (step == steps / 2) {
      const std::chrono::duration<double> now = Clock::now().time_since_epoch();
      if (ranks->is_root()) std::printf("fault %.6f\n", now.count());
      std::fflush(stdout);
      if (fault == "shared") ranks->abort(8, "every rank says so");
      if (ranks->rank() == faulty) misbehave(fault, liveness, ranks);
    }
    std::vector<float> values(1000, static_cast<float>(step * (ranks->rank() + 1)));
    ranks->all_reduce_sum(values);
    for (const float value : values)
      if (fault != "apart" && value != static_cast<float>(step * size * (size + 1) / 2))
        ranks->abort(4, fmt::format("a wrong sum in step {}", step));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ranks->finish();
  if (ranks->is_root()) std::printf("finished\n");
  return 0;
}
