#include "engine/dist/mpi/worker.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/core/error.h"
#include "engine/dist/activity.h"
#include "engine/dist/mpi/heartbeats.h"
#include "engine/dist/mpi/last_resort.h"
#include "engine/dist/mpi/status.h"
#include "engine/dist/place.h"

namespace sculpt::mpi {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using Seconds = std::chrono::duration<double>;

// The thread looks for heartbeats this often while no operation is under way.
constexpr auto kTick = milliseconds(50);
// The thread looks for heartbeats this often while operations are under way.
constexpr auto kLook = milliseconds(10);
// An operation that has just started is tested again and again. Later, the thread sleeps between
// two tests for a part of the time that the operation has taken already, so that waiting costs
// little processor time and the sleep little of the operation's time.
constexpr auto kEager = microseconds(200);
constexpr int kSleepPart = 32;
constexpr auto kLongestSleep = milliseconds(1);

// MPI's start is the first time that ranks wait for each other, and takes longer on a large
// machine.
constexpr double kStartFactor = 6;
constexpr auto kEndLimit = std::chrono::seconds(20);
constexpr auto kAbortLimit = std::chrono::seconds(4);
// A launcher needs up to two seconds to end the other ranks after rank 0 has ended them.
constexpr auto kRootFirst = milliseconds(2500);

// After so many intervals between heartbeats, the newest calls of all ranks are known.
constexpr int kBeatsToBlame = 5;

/// Heartbeats are sent every second, or more often if the limit is short.
Liveness::Clock::duration heartbeat_interval(const DistOptions& options) {
  const double limit = options.liveness_seconds;
  const Seconds interval(limit > 0 ? std::min(1.0, limit / 4) : 1.0);
  return duration_cast<Liveness::Clock::duration>(interval);
}

/// Signals are for the threads that handle them. MPI's own threads inherit this from the
/// communication thread.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    // Faults of the thread itself must still end the program with their usual report.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
      sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~WithoutSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_;
};

/// Makes Open MPI compute sums by Rabenseifner's algorithm (3), which sends the fewest bytes in few
/// messages. Open MPI 4.1 would otherwise collect a sum in place on one rank and send it back,
/// which takes more bytes. A choice of the user is kept, and other libraries do not read the
/// variable.
void choose_algorithm() {
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "3", /*overwrite=*/0);
}

}  // namespace

/// The objects by which the thread finds out whether all ranks are alive.
struct Worker::Watch {
  Watch(int rank, int size, const DistOptions& options, Clock::time_point now)
      : heartbeats(rank, size, heartbeat_interval(options), now),
        liveness(rank, size, options.liveness_seconds, options.collective_seconds, now),
        activity(now) {}

  Heartbeats heartbeats;
  Liveness liveness;
  Activity activity;
  const pid_t launcher = getppid();
};

Worker::Worker(const DistOptions& options) : options_(options) {
  {
    const WithoutSignals blocked;
    thread_ = std::thread([this] { run(); });
  }
  std::unique_lock lock(mutex_);
  const auto started = [this] { return stage_ != Stage::starting; };
  if (options.liveness_seconds == 0)
    staged_.wait(lock, started);
  else if (!staged_.wait_for(lock, Seconds(kStartFactor * options.liveness_seconds), started)) {
    print_error(0, {},
                fmt::format("MPI has not started on {} (process {}) after {:g} s, because another "
                            "rank has not come, or MPI hangs; ending this rank",
                            this_place().host, getpid(), kStartFactor * options.liveness_seconds));
    _exit(kExitRankLost);
  }
  if (stage_ == Stage::failed) {
    lock.unlock();
    thread_.join();
    fail("MPI does not start: {}", problem_);
  }
}

Worker::~Worker() {
  if (thread_.joinable()) abort(1, "this rank has ended before the others");
}

void Worker::set_places(const std::vector<RankPlace>& places) {
  const std::lock_guard lock(mutex_);
  places_ = places;
}

std::vector<RankPlace> Worker::places() {
  const std::lock_guard lock(mutex_);
  return places_;
}

void Worker::post(Posted posted) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(posted));
  }
  posted_.notify_one();
}

void Worker::post(std::shared_ptr<Operation> operation) {
  post(Posted{std::move(operation)});
}

void Worker::post_pending(std::shared_ptr<Operation> sum) {
  post(Posted{std::move(sum), true});
}

void Worker::post_end_of_sum(int64_t values) {
  post(std::make_shared<Operation>(Call{CallKind::end_of_sum, values}, nullptr));
}

void Worker::finish() {
  const auto end = std::make_shared<Operation>(Call{CallKind::finish, 0}, nullptr);
  post(end);
  end->wait();
  std::unique_lock lock(mutex_);
  if (!staged_.wait_for(lock, kEndLimit, [this] { return stage_ == Stage::finished; })) {
    print_error(rank_, places_, "MPI does not end although all ranks have; leaving without it");
    _exit(kExitRankLost);
  }
  lock.unlock();
  thread_.join();
}

void Worker::abort(int exit_code, const std::string& reason) {
  aborting_ = true;
  if (rank_ != 0) std::this_thread::sleep_for(kRootFirst);
  print_error(rank_, places(), reason);
  {
    const std::lock_guard lock(mutex_);
    abort_code_ = exit_code;
  }
  posted_.notify_one();
  std::this_thread::sleep_for(kAbortLimit);
  _exit(exit_code);
}

void Worker::lose(int exit_code, const std::string& text) {
  print_error(rank_, places(), text);
  end_all_ranks(exit_code);
}

void Worker::enter(Stage stage, std::string problem) {
  const std::lock_guard lock(mutex_);
  stage_ = stage;
  problem_ = std::move(problem);
  staged_.notify_all();
}

void Worker::run() {
  try {
    start_mpi();
  } catch (const std::exception& error) {
    return enter(Stage::failed, error.what());
  }
  enter(Stage::working);
  try {
    work();
  } catch (const std::exception& error) {
    lose(kExitRankLost, fmt::format("the ranks cannot reach each other: {}", error.what()));
  }
  enter(Stage::finished);
}

void Worker::start_mpi() {
  // The default rounds short sleeps up to 50 microseconds.
  prctl(PR_SET_TIMERSLACK, 1000);
  choose_algorithm();
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED)
    fail("this MPI allows no threads; use one that provides MPI_THREAD_FUNNELED");
  check(MPI_Comm_dup(MPI_COMM_WORLD, &pending_sums_), "MPI_Comm_dup");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  library_.assign(text, static_cast<size_t>(length));
  watch_ = std::make_unique<Watch>(rank_, size_, options_, Clock::now());
}

void Worker::work() {
  while (!finishing_ || !active_.empty() || !failed_.empty()) {
    take_posted();
    test_active();
    const auto now = Clock::now();
    keep_alive(now);
    report_failed(now);
    rest(now);
  }
  watch_->heartbeats.close();
  check(MPI_Comm_free(&pending_sums_), "MPI_Comm_free");
  check(MPI_Finalize(), "MPI_Finalize");
}

void Worker::take_posted() {
  std::vector<Posted> taken;
  std::optional<int> code;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(queue_);
    code = abort_code_;
  }
  if (code) end_all_ranks(*code);
  for (auto& [operation, pending] : taken) {
    if (!pending) watch_->liveness.call(operation->call());
    if (operation->call().kind == CallKind::finish) finishing_ = true;
    try {
      operation->start(pending ? pending_sums_ : MPI_COMM_WORLD);
      active_.push_back(std::move(operation));
      active_since_ = Clock::now();
    } catch (const Error& error) {
      failed_.push_back({std::move(operation), error.what(), Clock::now()});
    }
  }
}

void Worker::test_active() {
  const auto complete = [this](const std::shared_ptr<Operation>& operation) {
    const auto now = Clock::now();
    try {
      if (!operation->test()) return false;
      operation->complete({});
    } catch (const Error& error) {
      failed_.push_back({operation, error.what(), now});
    }
    active_since_ = now;
    return true;
  };
  std::erase_if(active_, complete);
}

/// Lets the callers of failed operations go on with the error. MPI's error rarely says which rank
/// is to blame. Heartbeats may say it, so they are waited for.
void Worker::report_failed(Clock::time_point now) {
  const auto patience = kBeatsToBlame * heartbeat_interval(options_);
  std::erase_if(failed_, [&](Failed& failed) {
    if (now - failed.since < patience) return false;
    failed.operation->complete(std::move(failed.problem));
    return true;
  });
}

void Worker::keep_alive(Clock::time_point now) {
  if (now - looked_ < kLook) return;
  looked_ = now;
  Watch& watch = *watch_;
  watch.heartbeats.receive(watch.liveness, now);
  if (watch.heartbeats.due(now)) {
    if (getppid() != watch.launcher) {
      print_error(rank_, places(), "the launcher of the ranks has ended; ending this rank");
      _exit(kExitRankLost);
    }
    // A rank that waits in abort() is not hanging.
    const double idle = aborting_ ? 0 : watch.activity.idle_seconds(now);
    watch.heartbeats.send(watch.liveness.beat(idle, now), now);
  }
  if (const auto verdict = watch.liveness.judge(now, places()))
    lose(verdict->exit_code, verdict->text);
}

void Worker::rest(Clock::time_point now) {
  Clock::duration time = kTick;
  if (!active_.empty()) {
    const auto waited = now - active_since_;
    if (waited < kEager) {
      std::this_thread::yield();
      return;
    }
    time = std::min<Clock::duration>(waited / kSleepPart, kLongestSleep);
  }
  std::unique_lock lock(mutex_);
  posted_.wait_for(lock, time, [this] { return !queue_.empty() || abort_code_; });
}

}  // namespace sculpt::mpi
