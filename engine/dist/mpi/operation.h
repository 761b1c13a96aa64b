#pragma once
// One collective operation on its way through the communication thread.

#include <atomic>
#include <cstddef>
#include <mpi.h>
#include <string>
#include <vector>

#include "engine/dist/call.h"
#include "engine/dist/communicator.h"

namespace sculpt::mpi {

/// The arrays belong to the caller, who waits. The communication thread starts and tests.
class Operation : public PendingSum::Work {
 public:
  /// A sum in place, a broadcast from `root`, or (with neither data nor elements) a barrier.
  Operation(const Call& call, void* data, int root = 0) : call_(call), data_(data), root_(root) {}
  /// A collection of texts: this rank's text, and `sizes` of all of them. `all` has room for them.
  Operation(const std::string& own, std::vector<int> sizes, std::string& all);

  const Call& call() const { return call_; }

  /// Starts the non-blocking collectives. Called by the communication thread.
  void start(MPI_Comm communicator);
  /// Returns true if the operation is complete. Called by the communication thread.
  bool test();
  /// Lets the waiting caller go on, with an error if `problem` is not empty.
  void complete(std::string problem);

  void wait() override;

 private:
  template <class Start>
  void start_pieces(int64_t element_bytes, const Start& start);

  const Call call_;
  void* const data_ = nullptr;
  const int root_ = 0;
  const std::string* own_ = nullptr;
  std::string* all_ = nullptr;
  std::vector<int> sizes_, offsets_;
  std::vector<MPI_Request> requests_;
  std::string problem_;
  std::atomic<int> done_{0};
};

}  // namespace sculpt::mpi
