#pragma once
// Connects the GPUs of the ranks by NCCL, so that sums over the ranks are computed without the
// host. The communicator of the ranks stays what ties the ranks together: it carries NCCL's
// id and small values of the host, and finds lost ranks. NCCL alone notices neither a dead rank of
// the same machine nor a rank that does not come.
//
// A process works on one GPU, so it has at most one object of this class, and every rank makes one.
// If something goes wrong on a GPU, or a wait for it lasts too long, the object ends all ranks
// with kExitRankLost: a process must not go on, and need not even be able to wait for its GPU.

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "kernels/collectives.h"
#include "kernels/device/memory.h"

namespace sculpt {

/// The GPU of this rank.
struct RankGpu {
  const kernels::SideStream* side_stream = nullptr;
  const kernels::DeviceMemory* memory = nullptr;
  std::string bus_id;  ///< names the GPU in its machine
};

class GpuRanks {
 public:
  /// Connects the GPUs of all ranks, and computes the first sum, because a collective must have run
  /// before one is recorded. `collectives` is null if this rank has none; `problem` then says why.
  /// All ranks throw the same Error if a rank has no collectives, if two ranks have the same GPU,
  /// or if a machine has too little shared memory. The ranks must outlive the object.
  GpuRanks(Communicator& ranks, const DistOptions& options, const RankGpu& gpu,
           const kernels::Collectives* collectives, const std::string& problem);
  /// Ends the collectives of this rank if close() has not been called, because the other ranks may
  /// not come any more.
  ~GpuRanks();
  GpuRanks(const GpuRanks&) = delete;
  GpuRanks& operator=(const GpuRanks&) = delete;

  /// Disconnects, when all ranks call it, once and last. All recordings of steps must be gone.
  void close();

  /// Ends the collectives of this rank, which fails with an error of this text. Call it before
  /// memory of the GPU is released, because that waits for the GPU, and the GPU may wait for other
  /// ranks. If the collectives do not end, ends all ranks with exit code 1.
  void abandon(const std::string& error);

  /// Returns the library and the settings on which the bits of its sums depend.
  const std::string& description() const { return description_; }

  /// Call this before each step in which sums are launched, on every rank. If a rank does not come
  /// to a step, a message can name it.
  void begin_step() { ranks_.pass_gpu_step(); }

  /// Starts replacing the values, in the GPU's memory, by their sums over the ranks. The sum
  /// follows what the backend was given before and precedes what comes after join().
  void start(float* values, int64_t count);
  void start(double* values, int64_t count);
  /// Makes what the backend is given from now on wait for the sums that were started.
  void join();

  /// Returns the object of this process, or null if its ranks are not connected in this way.
  static GpuRanks* of_process();

 private:
  void require_usable(const RankGpu& gpu, const std::string& problem);
  void connect();
  void compute_first_sum(const kernels::DeviceMemory& memory);
  void disconnect();
  void watch();
  void judge(double seconds_waited);
  [[noreturn]] void end(const std::string& reason);

  Communicator& ranks_;
  const DistOptions options_;
  const kernels::SideStream& side_;
  const kernels::Collectives* const collectives_;
  std::string description_;
  bool joined_ = true;  ///< whether the backend waits for all sums that were started
  std::atomic<bool> watching_ = true;
  std::atomic<bool> ending_ = false;
  std::thread watcher_;
};

}  // namespace sculpt
