#pragma once
// Adds up arrays over the ranks, in the memory of a backend. The kernels and the network call it;
// they know neither MPI nor NCCL.

#include <cstdint>
#include <vector>

#include "engine/dist/communicator.h"
#include "kernels/common/shared_batch.h"
#include "kernels/device/backend.h"

namespace sculpt {

class RankSums {
 public:
  /// The communicator and the backend must outlive the object.
  RankSums(Communicator& ranks, const kernels::Backend& backend)
      : ranks_(ranks), backend_(backend) {}
  RankSums(const RankSums&) = delete;
  RankSums& operator=(const RankSums&) = delete;

  /// Replaces `count` values, in the backend's memory, by their sums over the ranks. If GPUs are
  /// connected (GpuRanks), the call only launches the sum, and may be recorded. Otherwise values of
  /// a device are copied to the host and back, after a wait for the kernels launched before.
  void add_up(float* values, int64_t count);
  void add_up(double* values, int64_t count);

  /// Starts a sum as add_up() computes it, which goes on beside the caller. Where GPUs are
  /// connected, wait() only orders later kernels behind the sum, and both calls may be recorded. On
  /// other devices, start() waits. All ranks start and wait as Communicator::start_sum() says.
  [[nodiscard]] PendingSum start(float* values, int64_t count);
  [[nodiscard]] PendingSum start(double* values, int64_t count);

  /// Describes a batch of so many images to kernels. The object is valid as long as this one.
  kernels::SharedBatch batch_of(int64_t images);

 private:
  template <class T>
  void add_up_values(T* values, int64_t count);
  template <class T>
  PendingSum start_values(T* values, int64_t count);

  Communicator& ranks_;
  const kernels::Backend& backend_;
  std::vector<std::byte> staging_;
};

}  // namespace sculpt
