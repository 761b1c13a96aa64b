#pragma once
// Ranks whose GPUs are devices of the host layer, connected through the stand-in for NCCL.

#include "engine/dist/gpu_ranks.h"
#include "kernels/device/backend.h"
#include "tests/support/rank_gpu.h"

namespace sculpt::test {

/// The communicator that all cases share. main.cpp opens it. The cases of all ranks call the same
/// functions in the same order, and use CHECK and never REQUIRE, as tests/dist/ranks do.
Communicator& ranks();

/// The backend of this rank, on the device with the rank's number, and that device.
inline const kernels::Backend& backend() {
  return gpu_backend();
}
inline RankGpu gpu() {
  return rank_gpu();
}

/// The GPUs of all ranks, connected as long as the object lives.
class Connection {
 public:
  Connection();
  ~Connection() { gpus_.close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  GpuRanks* operator->() { return &gpus_; }

 private:
  GpuRanks gpus_;
};

}  // namespace sculpt::test
