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

  /// Replaces `count` values, in the backend's memory, by their sums over the ranks. On a device
  /// without a communicator of its own, the values are copied to the host and back, so the call
  /// waits for the kernels launched before it.
  void add_up(float* values, int64_t count);
  void add_up(double* values, int64_t count);

  /// Starts a sum as add_up() computes it. On the host, the communicator computes it while the
  /// caller goes on. On a device without a communicator of its own, it is complete when the
  /// function returns. All ranks start and wait as Communicator::start_sum() says.
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
