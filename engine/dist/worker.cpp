#include "engine/dist/worker.h"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/core/error.h"
#include "engine/dist/activity.h"
#include "engine/dist/place.h"

namespace sculpt {
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

// The ranks wait for each other for the first time while they are connected, which takes longer on
// a large machine.
constexpr double kStartFactor = 6;
constexpr auto kEndLimit = std::chrono::seconds(20);
constexpr auto kAbortLimit = std::chrono::seconds(4);
// If a rank has gone, rank 0 says so; if rank 0 has gone, rank 1. The other ranks say so only if
// nobody has ended the run.
constexpr auto kGrace = std::chrono::seconds(1);

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

timespec to_timespec(Liveness::Clock::duration time) {
  const auto count = duration_cast<std::chrono::nanoseconds>(time).count();
  return {count / 1'000'000'000, count % 1'000'000'000};
}

}  // namespace

/// The objects by which the thread finds out whether all ranks are alive.
struct Worker::Watch {
  Watch(int rank, int size, const DistOptions& options, Clock::time_point now)
      : interval(heartbeat_interval(options)),
        next_beat(now),
        liveness(rank, size, options.liveness_seconds, options.collective_seconds, now),
        activity(now) {}

  const Clock::duration interval;
  Clock::time_point next_beat;
  Liveness liveness;
  Activity activity;
  const pid_t launcher = getppid();
};

Worker::Worker(std::unique_ptr<Carrier> carrier, const DistOptions& options)
    : options_(options), carrier_(std::move(carrier)) {
  {
    const WithoutSignals blocked;
    thread_ = std::thread([this] { run(); });
  }
  std::unique_lock lock(mutex_);
  const auto started = [this] { return stage_ != Stage::starting; };
  if (options.liveness_seconds == 0 || !carrier_->may_hang())
    staged_.wait(lock, started);
  else if (!staged_.wait_for(lock, Seconds(kStartFactor * options.liveness_seconds), started)) {
    print_error(0, {},
                fmt::format("{0} has not started on {1} (process {2}) after {3:g} s, because "
                            "another rank has not come, or {0} hangs; ending this rank",
                            carrier_->name(), this_place().host, getpid(),
                            kStartFactor * options.liveness_seconds));
    _exit(kExitRankLost);
  }
  if (stage_ == Stage::failed) {
    lock.unlock();
    thread_.join();
    fail("{}", problem_);
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
  posted_.ring();
}

void Worker::post(std::shared_ptr<Operation> operation) {
  post(Posted{std::move(operation)});
}

void Worker::post_pending(std::shared_ptr<Operation> sum) {
  post(Posted{std::move(sum), Channel::pending_sums});
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
    print_error(carrier_->rank(), places_,
                fmt::format("{} does not end although all ranks have; leaving without it",
                            carrier_->name()));
    _exit(kExitRankLost);
  }
  lock.unlock();
  thread_.join();
}

void Worker::abort(int exit_code, const std::string& reason) {
  aborting_ = true;
  if (carrier_->rank() != 0) std::this_thread::sleep_for(kRootFirst);
  print_error(carrier_->rank(), places(), reason);
  {
    const std::lock_guard lock(mutex_);
    abort_code_ = exit_code;
  }
  posted_.ring();
  std::this_thread::sleep_for(kAbortLimit);
  _exit(exit_code);
}

void Worker::lose(int exit_code, const std::string& text) {
  print_error(carrier_->rank(), places(), text);
  end_all_ranks(exit_code);
}

void Worker::end_all_ranks(int exit_code) {
  carrier_->end_all_ranks(exit_code);
  _exit(exit_code);
}

void Worker::enter(Stage stage, std::string problem) {
  const std::lock_guard lock(mutex_);
  stage_ = stage;
  problem_ = std::move(problem);
  staged_.notify_all();
}

void Worker::run() {
  // The default rounds short sleeps up to 50 microseconds.
  prctl(PR_SET_TIMERSLACK, 1000);
  try {
    carrier_->connect(Seconds(kStartFactor * options_.liveness_seconds));
    watch_ = std::make_unique<Watch>(carrier_->rank(), carrier_->size(), options_, Clock::now());
  } catch (const EndedByOthers& end) {
    _exit(end.exit_code);
  } catch (const RankMissing& error) {
    lose(kExitRankLost, error.what());
  } catch (const std::exception& error) {
    return enter(Stage::failed, error.what());
  }
  enter(Stage::working);
  try {
    work();
  } catch (const EndedByOthers& end) {
    _exit(end.exit_code);
  } catch (const std::exception& error) {
    lose(kExitRankLost, fmt::format("the ranks cannot reach each other: {}", error.what()));
  }
  enter(Stage::finished);
}

void Worker::work() {
  while (!finishing_ || !active_.empty() || !failed_.empty()) {
    take_posted();
    carrier_->progress();
    test_active();
    const auto now = Clock::now();
    keep_alive(now);
    report_failed(now);
    rest(now);
  }
  carrier_->finish();
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
  for (auto& [operation, channel] : taken) {
    if (channel == Channel::calls) watch_->liveness.call(operation->call());
    if (operation->call().kind == CallKind::finish) finishing_ = true;
    try {
      auto transfer = carrier_->start(*operation, channel);
      active_.push_back({std::move(operation), std::move(transfer)});
      active_since_ = Clock::now();
    } catch (const Error& error) {
      failed_.push_back({std::move(operation), error.what(), Clock::now()});
    }
  }
}

void Worker::test_active() {
  const auto complete = [this](Active& active) {
    const auto now = Clock::now();
    try {
      if (!active.transfer->test()) return false;
      active.operation->complete({});
    } catch (const Error& error) {
      failed_.push_back({active.operation, error.what(), now});
    }
    active_since_ = now;
    return true;
  };
  std::erase_if(active_, complete);
}

/// Lets the callers of failed operations go on with the error. The carrier's error rarely says
/// which rank is to blame. Heartbeats may say it, so they are waited for.
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
  carrier_->receive([&](int from, const Heartbeat& beat) { watch.liveness.hear(from, beat, now); });
  if (now >= watch.next_beat) {
    watch.next_beat = now + watch.interval;
    if (getppid() != watch.launcher) {
      print_error(carrier_->rank(), places(),
                  "the launcher of the ranks has ended; ending this rank");
      _exit(kExitRankLost);
    }
    // A rank that waits in abort() is not hanging.
    const double idle = aborting_ ? 0 : watch.activity.idle_seconds(now);
    carrier_->send(watch.liveness.beat(idle, now));
  }
  end_if_a_rank_has_gone(now);
  if (const auto verdict = watch.liveness.judge(now, places()))
    lose(verdict->exit_code, verdict->text);
}

void Worker::end_if_a_rank_has_gone(Clock::time_point now) {
  const std::vector<int> gone = carrier_->gone();
  if (gone.empty()) return;
  if (!gone_since_) gone_since_ = now;
  const bool speaks = carrier_->rank() == (gone.front() == 0 ? 1 : 0);
  if (!speaks && now - *gone_since_ < kGrace) return;
  lose(kExitRankLost,
       fmt::format("{} {} gone without finishing: killed, or ended by an error; ending all ranks",
                   names_of(gone, places()), gone.size() == 1 ? "has" : "have"));
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
  files_ = {{posted_.file(), POLLIN, 0}};
  carrier_->add_files(files_);
  const timespec limit = to_timespec(time);
  if (ppoll(files_.data(), files_.size(), &limit, nullptr) > 0 && files_.front().revents != 0)
    posted_.silence();
}

}  // namespace sculpt
