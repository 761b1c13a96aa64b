#pragma once
// Logical ranks: ranks that share a process as threads. A run on a fixed number of logical ranks
// ends with the same bits however the logical ranks are spread over processes, because
//
// - each logical rank computes with one thread, on images that do not depend on the processes, and
// - sums over the logical ranks are added in one fixed tree: neighbours first, then pairs of
//   neighbours, and so on. A process adds up the subtree of its own logical ranks, and the tree
//   goes on over the processes. If there are several processes, both numbers are therefore powers
//   of two.
//
// The logical ranks of a process are numbered one after another: process p of P has the ranks
// [p * S / P, (p + 1) * S / P) of S.

#include <atomic>
#include <barrier>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/dist/communicator.h"

namespace sculpt {

/// Throws Error if so many logical ranks cannot be the same logical ranks on so many processes, and
/// on other numbers of processes: both must be powers of two, and there must be enough logical
/// ranks.
void require_logical_ranks(int64_t shards, int processes);

class ShardGroup {
 public:
  /// `shards` is the number of logical ranks of all processes. Throws Error if there are several
  /// processes and one of the two numbers is not a power of two, or if there are more processes
  /// than logical ranks. `processes` must outlive the object. The thread that calls run() uses it.
  ShardGroup(Communicator& processes, int shards);
  ~ShardGroup();
  ShardGroup(const ShardGroup&) = delete;
  ShardGroup& operator=(const ShardGroup&) = delete;

  /// Runs body(communicator) for each logical rank of this process, each on a thread of its own on
  /// which kernels run with one thread. Returns when all have returned. If a body throws, the other
  /// logical ranks of the process end at their next call of the communicator, and the first
  /// exception is thrown again.
  void run(const std::function<void(Communicator&)>& body);

 private:
  class Shard;
  struct Left {};  // thrown in a logical rank to end it after another one has failed

  void meet();
  void fail_with(std::exception_ptr error);
  template <class T>
  void add_subtree(T* to, size_t begin, size_t end) const;
  template <class T>
  void add_up(int here, std::span<T> values);
  template <class T>
  std::vector<T>& total();

  Communicator& processes_;
  const int shards_;
  const int here_;   // logical ranks of this process
  const int first_;  // the first of them
  std::unique_ptr<std::barrier<>> barrier_;
  std::mutex mutex_;
  std::exception_ptr error_;
  std::atomic<bool> failed_ = false;
  // These members hold what the logical ranks hand over in the present call.
  std::vector<void*> arrays_;
  std::vector<std::string> texts_, all_texts_;
  std::vector<float> floats_;
  std::vector<double> doubles_;
  std::vector<int64_t> counts_;
  std::vector<RankPlace> places_;
};

}  // namespace sculpt
