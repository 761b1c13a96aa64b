#pragma once
// A Communicator carries what the ranks of a run say to each other: sums, broadcasts, texts,
// barriers. A rank is one process of the run, or one of several threads of a process (shards.h).
// The number of ranks is the size.
//
// Contract: every rank calls the same functions, with arrays of the same sizes, in the same order
// and from one thread. That thread need not be the same thread on every rank, but it does not
// change. A rank that calls something else than the others leaves them waiting, and a limit of
// DistOptions ends the run.
//
// If there is one rank, every function returns at once and changes nothing (single.h). Code that
// uses a communicator therefore does not ask whether there are several ranks.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sculpt {

/// Exit code of a run that ends because one of its ranks is lost (EX_PROTOCOL of sysexits.h).
inline constexpr int kExitRankLost = 76;

/// The place where a rank runs. Messages name it.
struct RankPlace {
  std::string host;
  int64_t process = 0;  ///< the process id on that host
  int local_rank = 0;   ///< counts the ranks of the same host from 0
};

/// A sum that is being computed while the caller goes on. The array must stay where it is, and must
/// be neither read nor written, until wait() has returned.
class PendingSum {
 public:
  /// The part of a sum that a communicator implements.
  class Work {
   public:
    virtual ~Work() = default;
    /// Returns when the sum is in the array. Throws Error if the sum has failed.
    virtual void wait() = 0;
  };

  /// Makes a sum that is complete.
  PendingSum() = default;
  explicit PendingSum(std::shared_ptr<Work> work) : work_(std::move(work)) {}
  PendingSum(PendingSum&&) = default;
  PendingSum& operator=(PendingSum&& other) noexcept {
    std::swap(work_, other.work_);
    return *this;
  }
  /// Waits, because the array must not go away earlier. An error is dropped; wait() reports it.
  ~PendingSum() {
    try {
      wait();
    } catch (...) {
    }
  }

  /// Returns when the sum is in the array, on this rank. Throws Error if the sum has failed.
  /// Further calls return at once.
  void wait() {
    if (const auto work = std::exchange(work_, nullptr)) work->wait();
  }

 private:
  std::shared_ptr<Work> work_;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// Returns the number of this rank, from 0.
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Returns true on rank 0, which writes files and talks to people.
  bool is_root() const { return rank() == 0; }
  /// Describes what carries the messages, for environment.json: "single", "Open MPI 4.1.4, 4 ranks
  /// on 2 hosts".
  virtual std::string description() const = 0;
  /// Returns the library that adds up, if the bits of a sum depend on it: "Open MPI 4.1.4"; "" if
  /// they do not.
  virtual std::string library() const { return ""; }
  /// Returns the place of every rank, by rank.
  virtual const std::vector<RankPlace>& places() const = 0;

  /// Replaces each element of `values` by its sum over all ranks. Every rank gets the same bits.
  /// The order of the terms depends on the number of ranks, on the size of the array and on the
  /// library, so another number of ranks may give other last bits of floating-point sums. Throws
  /// Error if the library reports a failure.
  virtual void all_reduce_sum(std::span<float> values) = 0;
  virtual void all_reduce_sum(std::span<double> values) = 0;
  virtual void all_reduce_sum(std::span<int64_t> values) = 0;

  /// Starts a sum as all_reduce_sum() computes it. Several sums may be pending, and other functions
  /// may be called meanwhile. All ranks start their sums in the same order and wait for them in the
  /// order of the starts. Between two waits, other functions need not be called at the same place
  /// on every rank: a rank may call one before a start and another rank after it.
  [[nodiscard]] virtual PendingSum start_sum(std::span<float> values) = 0;
  [[nodiscard]] virtual PendingSum start_sum(std::span<double> values) = 0;

  /// Copies `bytes` of rank `root` to all other ranks.
  virtual void broadcast(std::span<std::byte> bytes, int root = 0) = 0;

  /// Returns the texts of all ranks, by rank. The texts may have different lengths and may be
  /// empty.
  virtual std::vector<std::string> all_gather(const std::string& text) = 0;

  /// Returns when all ranks have called it.
  virtual void barrier() = 0;

  /// Tells the other ranks that this rank is about to launch a step on its GPU, and returns at
  /// once. The sums of GPUs do not go through the communicator, which could not say otherwise which
  /// rank has not come to them. A rank with logical ranks (shards.h) has no GPU.
  virtual void pass_gpu_step() {}

  /// Ends the communication in order. Every rank calls it, once and last; it returns when all ranks
  /// have called it. A communicator that is destroyed without it ends all ranks with exit code 1,
  /// because the other ranks would wait for this one.
  virtual void finish() = 0;

  /// Ends all ranks with `exit_code`, after printing "error: " and `reason` to standard error; the
  /// line of a rank other than 0 names rank and host. Rank 0 does so at once. Other ranks wait for
  /// a moment before, because an error that all ranks find then shows once, from rank 0. May be
  /// called at any moment and by any number of ranks.
  [[noreturn]] void abort(int exit_code, const std::string& reason) {
    end_all_ranks(exit_code, reason);
    std::_Exit(exit_code);
  }

 private:
  /// Does what abort() promises. It does not return; g++ does not believe this of virtual
  /// functions.
  virtual void end_all_ranks(int exit_code, const std::string& reason) = 0;
};

}  // namespace sculpt
