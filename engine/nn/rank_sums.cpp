#include "engine/nn/rank_sums.h"

#include "engine/dist/gpu_ranks.h"

namespace sculpt {
namespace {

/// Sums that the GPUs compute. The host does not wait; later work of the backend does.
class SumOnGpus : public PendingSum::Work {
 public:
  explicit SumOnGpus(GpuRanks& gpus) : gpus_(gpus) {}
  void wait() override { gpus_.join(); }

 private:
  GpuRanks& gpus_;
};

}  // namespace

template <class T>
void RankSums::add_up_values(T* values, int64_t count) {
  const auto size = static_cast<size_t>(count);
  const kernels::DeviceMemory* const memory = backend_.memory;
  if (memory == nullptr) return ranks_.all_reduce_sum(std::span<T>(values, size));
  if (GpuRanks* const gpus = GpuRanks::of_process()) {
    gpus->start(values, count);
    return gpus->join();
  }
  const size_t bytes = size * sizeof(T);
  if (staging_.size() < bytes) staging_.resize(bytes);
  T* const host = reinterpret_cast<T*>(staging_.data());
  memory->copy_out(host, values, bytes);
  ranks_.all_reduce_sum(std::span<T>(host, size));
  memory->copy_in(values, host, bytes);
}

void RankSums::add_up(float* values, int64_t count) {
  add_up_values(values, count);
}

void RankSums::add_up(double* values, int64_t count) {
  add_up_values(values, count);
}

template <class T>
PendingSum RankSums::start_values(T* values, int64_t count) {
  if (backend_.memory == nullptr)
    return ranks_.start_sum(std::span<T>(values, static_cast<size_t>(count)));
  if (GpuRanks* const gpus = GpuRanks::of_process()) {
    gpus->start(values, count);
    return PendingSum(std::make_shared<SumOnGpus>(*gpus));
  }
  add_up_values(values, count);
  return {};
}

PendingSum RankSums::start(float* values, int64_t count) {
  return start_values(values, count);
}

PendingSum RankSums::start(double* values, int64_t count) {
  return start_values(values, count);
}

kernels::SharedBatch RankSums::batch_of(int64_t images) {
  const auto add_up = [](void* context, double* sums, int64_t count, void* /*stream*/) {
    static_cast<RankSums*>(context)->add_up(sums, count);
  };
  return {add_up, this, images, ranks_.rank() == 0};
}

}  // namespace sculpt
