// One rank of NCCL, whose sums are part of recorded steps. The sum over one rank changes nothing,
// so recorded steps have the gradients of steps without sums. tools/gpu_check asks for these cases
// on a GPU; on the host layer they run with the stand-in for NCCL.

#include <doctest/doctest.h>

#include "engine/core/step_recorder.h"
#include "engine/dist/single.h"
#include "engine/nn/network.h"
#include "tests/support/rank_gpu.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace sculpt;
using namespace sculpt::testing;

constexpr int kSteps = 6;

/// Returns the gradients of each step. With `sums`, each step adds up the gradients in three parts.
std::vector<std::vector<float>> gradients_of_steps(bool sums, int64_t& replayed) {
  const kernels::Backend& backend = test::gpu_backend();
  Network network(tiny_spec(), backend, 8);
  network.initialise(7);
  TinySource source(kSteps * 8, 8, 1);
  source.start_epoch(0, 0);
  RankSums rank_sums(one_rank(), backend);
  StepRecorder recorder(sums ? backend.recording : kernels::RecordingHooks{});
  const auto add_up = [&] {
    ParameterArena& parameters = network.parameters();
    auto* const gradients = static_cast<float*>(parameters.edit_stored_gradients());
    const int64_t count = parameters.stored_count(), part = count / 3;
    std::vector<PendingSum> pending;
    for (int64_t i = 0; i < 3; ++i)
      pending.push_back(rank_sums.start(gradients + i * part, i < 2 ? part : count - 2 * part));
    for (PendingSum& sum : pending)
      sum.wait();
  };
  std::vector<std::vector<float>> gradients;
  for (int step = 0; step < kSteps; ++step) {
    network.load(source.next(), source.normalization());
    network.begin_step(static_cast<uint64_t>(step));
    recorder.run({8, 0}, [&] {
      network.forward_adding(Mode::train);
      network.backward();
      if (sums) add_up();
    });
    const auto of_step = network.parameters().gradients<float>();
    gradients.emplace_back(of_step.begin(), of_step.end());
  }
  replayed = recorder.replayed();
  return gradients;
}

TEST_CASE("nccl: recorded steps with sums over one rank are the steps without sums" *
          doctest::skip()) {
  std::string problem;
  const kernels::Collectives* const collectives = test::gpu_collectives(problem);
  int64_t replayed = 0;
  const auto expected = gradients_of_steps(false, replayed);
  GpuRanks gpus(one_rank(), {}, test::rank_gpu(), collectives, problem);
  MESSAGE(gpus.description());
  CHECK(gpus.description().find("NCCL_ALGO=,") == std::string::npos);
  CHECK(gradients_of_steps(true, replayed) == expected);
  CHECK(replayed == kSteps - 1);
  gpus.close();
}

TEST_CASE("nccl: sums over one rank keep their terms, after connecting a second time" *
          doctest::skip()) {
  std::string problem;
  const kernels::Collectives* const collectives = test::gpu_collectives(problem);
  const kernels::Backend& backend = test::gpu_backend();
  GpuRanks gpus(one_rank(), {}, test::rank_gpu(), collectives, problem);
  RankSums sums(one_rank(), backend);
  std::vector<double> values(1000);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 1.0 / static_cast<double>(i + 1);
  Buffer buffer(values.size() * sizeof(double), "values", backend.memory);
  backend.memory->copy_in(buffer.data(), values.data(), buffer.bytes());
  sums.add_up(reinterpret_cast<double*>(buffer.data()), std::ssize(values));
  std::vector<double> found(values.size());
  backend.memory->copy_out(found.data(), buffer.data(), buffer.bytes());
  CHECK(found == values);
  gpus.close();
}

}  // namespace
