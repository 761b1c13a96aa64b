#pragma once
// A collective of the stand-in, as work on a stream of the host layer. Sums are added in the order
// of the ranks, so their bits do not depend on timing.

#include <atomic>
#include <chrono>
#include <memory>
#include <nccl.h>

#include "tests/nccl/standin/shared_ranks.h"

namespace standin {

/// A communicator. Work on streams and graphs hold it, too, so it outlives ncclCommDestroy.
struct Group {
  Group(const std::string& name, int of_rank, int of_size)
      : shared(name), rank(of_rank), size(of_size) {}

  SharedRanks shared;
  const int rank, size;
  std::atomic<bool> aborted = false;
  std::atomic<int> error = ncclSuccess;  // as ncclCommGetAsyncError reports it
  std::string text;                      // of the error
  /// Held by work that was not executed yet and by graphs.
  std::shared_ptr<int> users = std::make_shared<int>(0);

  // Used by executions, one after another.
  const void* busy_with = nullptr;  // the operation that is being executed
  uint64_t turn = 0;
  uint64_t executed = 0;

  void fail(ncclResult_t code, const std::string& why) {
    text = "stand-in: " + why;
    error = code;
  }
  /// Tells the others that this rank has come to its next turn.
  void arrive() { shared->turn[rank].at.store(++turn, std::memory_order_release); }
  bool all_arrived() const {
    for (int r = 0; r < size; ++r)
      if (shared->turn[r].at.load(std::memory_order_acquire) < turn) return false;
    return true;
  }
};

/// The arguments of a sum over the ranks.
struct Arguments {
  const void* send;
  void* receive;
  size_t count;
  ncclDataType_t type;
};

size_t width_of(ncclDataType_t type);

class Operation {
 public:
  Operation(std::shared_ptr<Group> group, const Arguments& arguments)
      : group_(std::move(group)), users_(group_->users), arguments_(arguments) {}

  /// Does what can be done now. Returns true if the operation is done; the next call starts it
  /// again, as a graph does at its next launch.
  bool step();

 private:
  enum class Stage { idle, late, copied, described, summed, stuck };

  bool begin();
  bool follow();
  void copy_in();
  void copy_out();
  bool end();
  size_t slice() const;

  std::shared_ptr<Group> group_;
  std::shared_ptr<int> users_;
  Arguments arguments_;
  Stage stage_ = Stage::idle;
  std::string fault_;
  std::chrono::steady_clock::time_point begin_at_;
  size_t done_ = 0;  // elements
};

}  // namespace standin
