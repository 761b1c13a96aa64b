#pragma once
// The communication thread of a rank. All calls of MPI, from its start to its end, happen in this
// thread, which also sends heartbeats and judges those of other ranks. It goes on while the rank
// computes.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mpi.h>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "engine/dist/liveness.h"
#include "engine/dist/mpi/operation.h"

namespace sculpt::mpi {

/// All functions are called from the one thread that uses the communicator.
class Worker {
 public:
  /// Starts the thread and MPI. Throws Error if MPI does not start; ends the process with
  /// kExitRankLost if MPI has not started after a few times the limit of liveness.
  explicit Worker(const DistOptions& options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Returns what MPI_Get_library_version says.
  const std::string& library() const { return library_; }

  /// Gives names to the ranks, for messages.
  void set_places(const std::vector<RankPlace>& places);

  /// Queues an operation. The caller keeps its arrays until the operation is complete.
  void post(std::shared_ptr<Operation> operation);
  /// Queues a sum that the rank does not wait for yet. The ranks may start such a sum at different
  /// places among their other operations; its place in the order of calls is post_end_of_sum().
  void post_pending(std::shared_ptr<Operation> sum);
  /// Tells that the rank waits for a pending sum of so many values now.
  void post_end_of_sum(int64_t values);

  /// Waits until all ranks have called it, and ends MPI and the thread.
  void finish();

  /// Ends all ranks. See Communicator::abort().
  [[noreturn]] void abort(int exit_code, const std::string& reason);

 private:
  using Clock = Liveness::Clock;
  enum class Stage { starting, working, finished, failed };
  struct Posted {
    std::shared_ptr<Operation> operation;
    bool pending = false;  ///< see post_pending()
  };

  void run();
  void start_mpi();
  void work();
  void post(Posted posted);
  void take_posted();
  void test_active();
  void report_failed(Clock::time_point now);
  void keep_alive(Clock::time_point now);
  void rest(Clock::time_point now);
  void enter(Stage stage, std::string problem = {});
  [[noreturn]] void lose(int exit_code, const std::string& text);
  std::vector<RankPlace> places();

  const DistOptions options_;
  int rank_ = 0, size_ = 1;
  std::string library_;

  // Shared with the communication thread, and guarded by mutex_.
  std::mutex mutex_;
  std::condition_variable posted_;  ///< wakes the communication thread
  std::condition_variable staged_;  ///< wakes a thread that waits for a stage
  Stage stage_ = Stage::starting;
  std::string problem_;
  std::vector<Posted> queue_;
  std::vector<RankPlace> places_;
  std::optional<int> abort_code_;
  std::atomic<bool> aborting_{false};  ///< not guarded

  // Used by the communication thread only.
  MPI_Comm pending_sums_ = MPI_COMM_NULL;  ///< of all ranks, for pending sums only
  struct Watch;
  std::unique_ptr<Watch> watch_;
  std::vector<std::shared_ptr<Operation>> active_;
  /// An operation that MPI has failed to compute.
  struct Failed {
    std::shared_ptr<Operation> operation;
    std::string problem;
    Clock::time_point since;
  };
  std::vector<Failed> failed_;
  Clock::time_point active_since_;  ///< when an operation last started or became complete
  Clock::time_point looked_;        ///< when heartbeats were last looked at
  bool finishing_ = false;

  std::thread thread_;
};

}  // namespace sculpt::mpi
