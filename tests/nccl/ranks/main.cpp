// Runs doctest on every rank of an mpirun.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <doctest/doctest.h>

#include "cuda_on_host/runtime.h"
#include "engine/dist/launch.h"
#include "engine/dist/open_communicator.h"
#include "kernels/cuda/device/backend.h"
#include "kernels/cuda/device/side_stream.h"
#include "tests/nccl/ranks/ranks.h"

extern "C" const sculpt::kernels::Collectives* sculpt_collectives();

namespace sculpt::test {
namespace {

std::unique_ptr<Communicator> opened;

}  // namespace

Communicator& ranks() {
  return *opened;
}

const kernels::Backend& gpu_backend() {
  return *kernels::cuda::backends().front();
}

RankGpu rank_gpu() {
  return {&kernels::cuda::side_stream(), gpu_backend().memory,
          kernels::cuda::bus_id(ranks().rank())};
}

const kernels::Collectives* gpu_collectives(std::string&) {
  return sculpt_collectives();
}

Connection::Connection() : gpus_(ranks(), {}, gpu(), sculpt_collectives(), "") {}

}  // namespace sculpt::test

int main(int argc, char** argv) {
  using namespace sculpt;
  // The usual limits: a busy machine is not an error.
  test::opened = open_communicator(find_launch(process_environment()), {});
  Communicator& ranks = test::ranks();
  cuda_on_host::set_device_count(ranks.size());
  kernels::cuda::use_device(ranks.rank());
  doctest::Context context(argc, argv);
  context.setOption("no-colors", true);  // mpirun gives its ranks a terminal
  if (!ranks.is_root()) context.setOption("minimal", true);
  int64_t failed = context.run() == 0 ? 0 : 1;
  ranks.all_reduce_sum(std::span(&failed, 1));
  ranks.finish();
  return failed == 0 ? 0 : 1;
}
