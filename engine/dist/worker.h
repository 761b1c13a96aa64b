#pragma once
// The communication thread of a rank. It starts and tests the operations of the rank, sends
// heartbeats and judges those of other ranks, and ends all ranks if one is lost. It goes on while
// the rank computes. A carrier takes the messages to the other ranks.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/dist/bell.h"
#include "engine/dist/carrier.h"
#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "engine/dist/liveness.h"
#include "engine/dist/operation.h"

namespace sculpt {

/// All functions are called from the one thread that uses the communicator.
class Worker {
 public:
  /// Starts the thread and connects the ranks. Throws Error if they cannot be connected; ends the
  /// process with kExitRankLost if they are not connected after a few times the limit of liveness.
  Worker(std::unique_ptr<Carrier> carrier, const DistOptions& options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  const Carrier& carrier() const { return *carrier_; }

  /// Gives names to the ranks, for messages.
  void set_places(const std::vector<RankPlace>& places);

  /// Queues an operation. The caller keeps its arrays until the operation is complete.
  void post(std::shared_ptr<Operation> operation);
  /// Queues a sum that the rank does not wait for yet. The ranks may start such a sum at different
  /// places among their other operations; its place in the order of calls is post_end_of_sum().
  void post_pending(std::shared_ptr<Operation> sum);
  /// Tells that the rank waits for a pending sum of so many values now.
  void post_end_of_sum(int64_t values);

  /// Waits until all ranks have called it, and ends the connection and the thread.
  void finish();

  /// Ends all ranks. See Communicator::abort().
  [[noreturn]] void abort(int exit_code, const std::string& reason);

 private:
  using Clock = Liveness::Clock;
  enum class Stage { starting, working, finished, failed };
  struct Posted {
    std::shared_ptr<Operation> operation;
    Channel channel = Channel::calls;
  };

  void run();
  void connect();
  void work();
  void post(Posted posted);
  void take_posted();
  void test_active();
  void report_failed(Clock::time_point now);
  void keep_alive(Clock::time_point now);
  void end_if_a_rank_has_gone(Clock::time_point now);
  void rest(Clock::time_point now);
  void enter(Stage stage, std::string problem = {});
  [[noreturn]] void lose(int exit_code, const std::string& text);
  [[noreturn]] void end_all_ranks(int exit_code);
  std::vector<RankPlace> places();

  const DistOptions options_;
  const std::unique_ptr<Carrier> carrier_;

  // Shared with the communication thread, and guarded by mutex_.
  std::mutex mutex_;
  std::condition_variable staged_;  ///< wakes a thread that waits for a stage
  Stage stage_ = Stage::starting;
  std::string problem_;
  std::vector<Posted> queue_;
  std::vector<RankPlace> places_;
  std::optional<int> abort_code_;

  // Shared with the communication thread, and not guarded.
  std::atomic<bool> aborting_{false};
  const Bell posted_;  ///< wakes the communication thread

  // Used by the communication thread only.
  struct Watch;
  std::unique_ptr<Watch> watch_;
  /// An operation that is under way.
  struct Active {
    std::shared_ptr<Operation> operation;
    std::unique_ptr<Transfer> transfer;
  };
  std::vector<Active> active_;
  /// An operation that the carrier has failed to compute.
  struct Failed {
    std::shared_ptr<Operation> operation;
    std::string problem;
    Clock::time_point since;
  };
  std::vector<Failed> failed_;
  Clock::time_point active_since_;  ///< when an operation last started or became complete
  Clock::time_point looked_;        ///< when heartbeats were last looked at
  std::optional<Clock::time_point> gone_since_;  ///< when the carrier noticed that a rank has gone
  std::vector<pollfd> files_;                    ///< those that end a rest
  bool finishing_ = false;

  std::thread thread_;
};

}  // namespace sculpt
