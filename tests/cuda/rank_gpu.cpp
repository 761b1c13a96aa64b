#include "tests/support/rank_gpu.h"

#include "kernels/device/device.h"

namespace sculpt::test {

const kernels::Backend& gpu_backend() {
  return *kernels::open_device("cuda", "fp32").backend;
}

RankGpu rank_gpu() {
  const kernels::Device device = kernels::open_device("cuda", "fp32");
  return {device.side_stream, device.backend->memory, device.bus_id};
}

const kernels::Collectives* gpu_collectives(std::string& problem) {
  return kernels::load_collectives(problem);
}

}  // namespace sculpt::test
