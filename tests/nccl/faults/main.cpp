// A job on several ranks with GPUs, in which something goes wrong. faults_test.py starts it; most
// faults are those of the stand-in (standin/fault.h), which the environment asks for.
//
// usage: nccl_fault_ranks LIVENESS_SECONDS COLLECTIVE_SECONDS MODE
//
// Each of 12 steps adds up three arrays, checked against what all ranks put in. The first 2 steps
// are launched, the others are replays of a recording. The first sum of a rank is that of
// connecting, so the sums of step S are executions 1 + 3 S to 3 + 3 S, and the sums of the launched
// steps are calls of the same numbers. MODE says what else goes wrong:
//   steps      nothing
//   stay_away  rank 1 sleeps for ever instead of step 6
//   free       rank 1 frees an array before step 6 that nothing but the recorded sums uses
//   launch     rank 1 says that a launch of a recording does not return
//   keep       all ranks disconnect before they discard the recording

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "cuda_on_host/runtime.h"
#include "engine/core/buffer.h"
#include "engine/core/error.h"
#include "engine/dist/gpu_ranks.h"
#include "engine/dist/launch.h"
#include "engine/dist/open_communicator.h"
#include "engine/nn/rank_sums.h"
#include "kernels/cuda/device/backend.h"
#include "kernels/cuda/device/side_stream.h"

extern "C" const sculpt::kernels::Collectives* sculpt_collectives();

namespace {

using namespace sculpt;

constexpr int kSteps = 12, kLaunched = 2, kFaulty = 6;

class Job {
 public:
  /// Array `unused` is added up and otherwise left alone; -1: none is.
  Job(Communicator& ranks, int unused)
      : ranks_(ranks),
        backend_(*kernels::cuda::backends().front()),
        sums_(ranks, backend_),
        unused_(unused) {
    for (size_t i = 0; i < 3; ++i) {
      terms_.emplace_back(bytes(i), "terms", backend_.memory);
      values_.emplace_back(bytes(i), "values", backend_.memory);
    }
  }
  ~Job() { discard(); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  void step(int number) {
    const float own = static_cast<float>(number * (ranks_.rank() + 1));
    for (size_t i = 0; i < 3; ++i) {
      const std::vector<float> terms(count(i), own);
      backend_.memory->copy_in(terms_[i].data(), terms.data(), bytes(i));
    }
    if (number < kLaunched) {
      launch();
    } else {
      if (recording_ == nullptr) recording_ = backend_.recording.record([this] { launch(); });
      backend_.recording.replay(recording_);
    }
    const int size = ranks_.size();
    const float expected = static_cast<float>(number * size * (size + 1)) / 2;
    for (size_t i = 0; i < 3; ++i) {
      if (static_cast<int>(i) == unused_) continue;
      std::vector<float> found(count(i));
      backend_.memory->copy_out(found.data(), values_[i].data(), bytes(i));
      for (const float value : found)
        if (value != expected)
          ranks_.abort(
              4, fmt::format("a wrong sum in step {}: {} instead of {}", number, value, expected));
    }
  }

  void free_unused() { values_[static_cast<size_t>(unused_)] = Buffer(); }
  void discard() {
    if (recording_ != nullptr) backend_.recording.discard(recording_);
    recording_ = nullptr;
  }

 private:
  static size_t count(size_t i) { return 1000 * (i + 1); }
  static size_t bytes(size_t i) { return count(i) * sizeof(float); }

  void launch() {
    std::vector<PendingSum> pending;
    for (size_t i = 0; i < 3; ++i) {
      auto* const to = values_[i].data();
      const auto* const from = terms_[i].data();
      if (static_cast<int>(i) != unused_)
        cudaMemcpyAsync(to, from, bytes(i), cudaMemcpyDeviceToDevice,
                        static_cast<cudaStream_t>(backend_.stream));
      pending.push_back(sums_.start(reinterpret_cast<float*>(to), static_cast<int64_t>(count(i))));
    }
    for (PendingSum& sum : pending)
      sum.wait();
  }

  Communicator& ranks_;
  const kernels::Backend& backend_;
  RankSums sums_;
  const int unused_;
  std::vector<Buffer> terms_, values_;
  void* recording_ = nullptr;
};

void run(Communicator& ranks, const DistOptions& options, const std::string& mode) {
  kernels::SideStream side = kernels::cuda::side_stream();
  if (mode == "launch" && ranks.rank() == 1) side.seconds_launching = [] { return 1e3; };
  const RankGpu gpu = {&side, kernels::cuda::backends().front()->memory,
                       kernels::cuda::bus_id(ranks.rank())};
  GpuRanks gpus(ranks, options, gpu, sculpt_collectives(), "");
  if (ranks.is_root()) std::printf("connected\n");
  std::fflush(stdout);
  Job job(ranks, mode == "free" ? 1 : -1);
  for (int step = 0; step < kSteps; ++step) {
    if (step == kFaulty) {
      if (ranks.is_root()) std::printf("fault\n");
      std::fflush(stdout);
    }
    if (step == kFaulty && ranks.rank() == 1) {
      if (mode == "stay_away")
        for (;;)
          pause();
      if (mode == "free") job.free_unused();
    }
    gpus.begin_step();
    job.step(step);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (mode != "keep") job.discard();
  gpus.close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const DistOptions options = {.liveness_seconds = std::atof(argv[1]),
                               .collective_seconds = std::atof(argv[2])};
  const auto ranks = open_communicator(find_launch(process_environment()), options);
  if (ranks->is_root()) {
    for (const auto& place : ranks->places())
      std::printf("process %lld on %s\n", static_cast<long long>(place.process),
                  place.host.c_str());
    std::fflush(stdout);
  }
  cuda_on_host::set_device_count(ranks->size());
  kernels::cuda::use_device(ranks->rank());
  try {
    run(*ranks, options, argv[3]);
  } catch (const std::exception& error) {
    ranks->abort(1, error.what());
  }
  ranks->finish();
  if (ranks->is_root()) std::printf("finished\n");
  return 0;
}
