#include "engine/dist/gpu_ranks.h"

#include <chrono>
#include <map>
#include <span>
#include <utility>

#include "engine/core/error.h"
#include "engine/dist/place.h"
#include "engine/dist/shared_memory.h"
#include "kernels/common/start_thread.h"

namespace sculpt {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 100ms;
constexpr double kAbortSeconds = 3;
/// Connecting may take much longer than a rank may be silent.
constexpr double kConnectFactor = 6;

constexpr const char* kSharedMemory = "/dev/shm";

GpuRanks* the_object = nullptr;

}  // namespace

GpuRanks* GpuRanks::of_process() {
  return the_object;
}

GpuRanks::GpuRanks(Communicator& ranks, const DistOptions& options, const RankGpu& gpu,
                   const kernels::Collectives* collectives, const std::string& problem)
    : ranks_(ranks), options_(options), side_(*gpu.side_stream), collectives_(collectives) {
  SCULPT_CHECK(the_object == nullptr, "the GPUs of the ranks are connected already");
  require_usable(gpu, problem);
  description_ = collectives_->description();
  the_object = this;
  side_.watch_waits([](double seconds) { the_object->judge(seconds); });
  try {
    connect();
    compute_first_sum(*gpu.memory);
  } catch (...) {
    disconnect();
    throw;
  }
  watcher_ = start_thread("watches the sums over the GPUs", [this] { watch(); });
}

GpuRanks::~GpuRanks() {
  watching_ = false;
  if (watcher_.joinable()) watcher_.join();
  disconnect();
}

void GpuRanks::disconnect() {
  collectives_->abort(kAbortSeconds);  // does nothing after close()
  side_.watch_waits(nullptr);
  the_object = nullptr;
}

void GpuRanks::close() {
  watching_ = false;
  watcher_.join();
  try {
    collectives_->close(kConnectFactor * options_.liveness_seconds);
  } catch (const Error& error) {
    end(error.what());
  }
}

void GpuRanks::abandon(const std::string& error) {
  if (!collectives_->abort(kAbortSeconds)) ranks_.abort(1, error);
}

/// Every rank finds the same, so that all throw.
void GpuRanks::require_usable(const RankGpu& gpu, const std::string& problem) {
  const std::vector<RankPlace>& places = ranks_.places();
  std::string own = problem;
  if (own.empty())
    own = shared_memory_problem(ranks_on_host(places, ranks_.rank()),
                                file_system_bytes(kSharedMemory), kSharedMemory);
  const std::vector<std::string> problems = ranks_.all_gather(own);
  const std::vector<std::string> gpus = ranks_.all_gather(gpu.bus_id);
  for (size_t rank = 0; rank < problems.size(); ++rank)
    if (!problems[rank].empty())
      fail("several ranks with GPUs need NCCL, and {} cannot use it: {}",
           name_of(static_cast<int>(rank), places), problems[rank]);
  std::map<std::pair<std::string, std::string>, int> users;
  for (size_t rank = 0; rank < gpus.size(); ++rank) {
    const auto [other, is_new] =
        users.try_emplace({places[rank].host, gpus[rank]}, static_cast<int>(rank));
    if (!is_new)
      fail(
          "{} and {} have the same GPU ({}), and each rank needs a GPU of its own; start fewer "
          "ranks on a machine, show each rank another GPU (CUDA_VISIBLE_DEVICES), or use --device "
          "cpu",
          name_of(other->second, places), name_of(static_cast<int>(rank), places), gpus[rank]);
  }
}

void GpuRanks::connect() {
  constexpr size_t kIdBytes = 128;
  std::string id = ranks_.is_root() ? collectives_->make_id() : std::string();
  id.resize(kIdBytes);
  ranks_.broadcast(std::as_writable_bytes(std::span(id)));
  collectives_->connect(id, ranks_.rank(), ranks_.size(),
                        kConnectFactor * options_.liveness_seconds);
}

void GpuRanks::compute_first_sum(const kernels::DeviceMemory& memory) {
  float one = 1;
  auto* const value = static_cast<float*>(memory.allocate(sizeof(one)));
  if (value == nullptr) fail("not enough memory on the GPU for the first sum over the ranks");
  memory.copy_in(value, &one, sizeof(one));
  start(value, 1);
  join();
  memory.copy_out(&one, value, sizeof(one));
  memory.free(value);
  if (one != static_cast<float>(ranks_.size()))
    fail("the sum of a one from each of {} ranks is {:g} on the GPUs: they do not add up rightly",
         ranks_.size(), one);
}

void GpuRanks::start(float* values, int64_t count) {
  side_.fork();
  joined_ = false;
  collectives_->sum_floats(values, count, side_.stream());
}

void GpuRanks::start(double* values, int64_t count) {
  side_.fork();
  joined_ = false;
  collectives_->sum_doubles(values, count, side_.stream());
}

void GpuRanks::join() {
  if (!std::exchange(joined_, true)) side_.join();
}

/// Looks for errors while the host computes something else, and for launches that do not return.
void GpuRanks::watch() {
  while (watching_) {
    judge(side_.seconds_launching());
    std::this_thread::sleep_for(kLook);
  }
}

void GpuRanks::judge(double seconds_waited) {
  const std::string problem = collectives_->problem();
  if (!problem.empty()) end("the sums over the GPUs have failed: " + problem);
  const double limit = options_.collective_seconds;
  if (limit > 0 && seconds_waited > limit)
    end(
        fmt::format("the GPU has not done its work for {:g} s: another rank has not come to a sum, "
                    "or a GPU hangs (dist.collective_seconds)",
                    limit));
}

void GpuRanks::end(const std::string& reason) {
  // One thread ends the process, and others that find the same wait for that.
  if (ending_.exchange(true))
    for (;;)
      std::this_thread::sleep_for(1s);
  collectives_->abort(kAbortSeconds);
  ranks_.abort(kExitRankLost, reason);
}

}  // namespace sculpt
