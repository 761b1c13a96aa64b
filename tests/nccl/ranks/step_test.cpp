// Steps with several sums, launched and recorded, in every order of streams. Steps that lack an
// edge must give a wrong result in some order.

#include <doctest/doctest.h>
#include <optional>

#include "cuda_on_host/streams.h"
#include "engine/nn/rank_sums.h"
#include "kernels/cuda/device/launch.h"
#include "tests/nccl/ranks/on_device.h"
#include "tests/nccl/ranks/ranks.h"

extern "C" const sculpt::kernels::Collectives* sculpt_collectives();

namespace {

using namespace sculpt;
using cuda_on_host::StreamOrder;
using test::backend;
using test::OnDevice;
using test::ranks;

constexpr std::pair<StreamOrder, uint64_t> kOrders[] = {
    {StreamOrder::kIssued, 0},  {StreamOrder::kSideFirst, 0}, {StreamOrder::kSideLast, 0},
    {StreamOrder::kShuffle, 1}, {StreamOrder::kShuffle, 2},   {StreamOrder::kShuffle, 3}};

class WithOrder {
 public:
  explicit WithOrder(std::pair<StreamOrder, uint64_t> order) {
    cuda_on_host::set_stream_order(order.first, order.second);
  }
  ~WithOrder() { cuda_on_host::set_stream_order(StreamOrder::kIssued); }
  WithOrder(const WithOrder&) = delete;
  WithOrder& operator=(const WithOrder&) = delete;
};

__global__ void add_to(float* to, const float* values, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) to[i] += values[i];
}

/// A step with three buckets, whose sums start while the device computes further values.
class Step {
 public:
  /// A step that `waits` waits for its sums, as it must.
  explicit Step(bool waits = true) : waits_(waits) {}

  void set(float number) { x_.write(std::vector<float>(kCount, number)); }

  /// Computes bucket = x + 1 and its sum over the ranks for x, x + 1 and x + 2, and the total of
  /// the buckets.
  void launch() {
    std::vector<PendingSum> pending;
    for (OnDevice<float>& bucket : buckets_) {
      zero(bucket);
      add(bucket, x_);
      add(bucket, one_);
      pending.push_back(sums_.start(bucket.data(), kCount));
      add(x_, one_);
    }
    if (waits_)
      for (PendingSum& sum : pending)
        sum.wait();
    zero(total_);
    for (OnDevice<float>& bucket : buckets_)
      add(total_, bucket);
    pending.clear();  // joins the side stream in any case
  }

  std::vector<float> total() { return total_.read(); }

  /// Returns the total if rank r has set r + `number`.
  static std::vector<float> expected(float number) {
    const auto size = static_cast<float>(ranks().size());
    const float sum = size * (size - 1) / 2 + size * number;
    return std::vector<float>(kCount, 3 * sum + (1 + 2 + 3) * size);
  }

 private:
  static constexpr int64_t kCount = 3000;

  static std::vector<float> values(float value) { return std::vector<float>(kCount, value); }
  static void zero(OnDevice<float>& values) {
    backend().memory->zero(values.data(), kCount * sizeof(float));
  }
  static void add(OnDevice<float>& to, OnDevice<float>& values) {
    SCULPT_LAUNCH(add_to, 12, 256, 0, backend().stream, to.data(), values.data(), kCount);
  }

  const bool waits_;
  RankSums sums_{ranks(), backend()};
  OnDevice<float> x_{values(0)}, one_{values(1)}, total_{values(0)};
  OnDevice<float> buckets_[3] = {OnDevice<float>(values(0)), OnDevice<float>(values(0)),
                                 OnDevice<float>(values(0))};
};

/// Returns the number of orders in which the step, launched three times, has wrong totals on this
/// rank.
template <class Launch>
int wrong_orders(Step& step, const Launch& launch) {
  int wrong = 0;
  for (const auto& order : kOrders) {
    const WithOrder in_order(order);
    bool right = true;
    for (int repeat = 0; repeat < 3; ++repeat) {
      const auto number = static_cast<float>(10 * repeat);
      step.set(static_cast<float>(ranks().rank()) + number);
      launch();
      right = right && step.total() == Step::expected(number);
    }
    wrong += right ? 0 : 1;
  }
  return wrong;
}

int wrong_orders_of_launches(Step& step) {
  return wrong_orders(step, [&] { step.launch(); });
}

int wrong_orders_of_recording(Step& step) {
  step.launch();  // loads the kernels
  void* const recording = backend().recording.record([&] { step.launch(); });
  const int wrong = wrong_orders(step, [&] { backend().recording.replay(recording); });
  backend().recording.discard(recording);
  return wrong;
}

TEST_CASE("gpu steps: sums of several buckets are right in every order, launched and recorded") {
  const test::Connection connection;
  Step step;
  CHECK(wrong_orders_of_launches(step) == 0);
  CHECK(wrong_orders_of_recording(step) == 0);
}

TEST_CASE("gpu steps: a step that does not wait for its sums is wrong in some order") {
  const test::Connection connection;
  Step step(/*waits=*/false);
  CHECK(wrong_orders_of_launches(step) > 0);
  CHECK(wrong_orders_of_recording(step) > 0);
}

TEST_CASE("gpu steps: sums that do not wait for their terms are wrong in some order") {
  RankGpu gpu = test::gpu();
  kernels::SideStream side = *gpu.side_stream;
  static bool forks = true;
  forks = true;
  side.fork = [] {
    if (forks) test::gpu().side_stream->fork();
  };
  gpu.side_stream = &side;
  GpuRanks gpus(ranks(), {}, gpu, sculpt_collectives(), "");
  Step step;
  CHECK(wrong_orders_of_launches(step) == 0);
  forks = false;
  CHECK(wrong_orders_of_launches(step) > 0);
  // The side stream does not take part in the recording.
  CHECK_THROWS_AS(backend().recording.record([&] { step.launch(); }), std::invalid_argument);
  forks = true;
  gpus.close();
}

TEST_CASE("gpu steps: a recording must not end before the side stream is joined") {
  RankGpu gpu = test::gpu();
  kernels::SideStream side = *gpu.side_stream;
  static bool joins = true;
  joins = true;
  side.join = [] {
    if (joins) test::gpu().side_stream->join();
  };
  gpu.side_stream = &side;
  GpuRanks gpus(ranks(), {}, gpu, sculpt_collectives(), "");
  Step step;
  step.launch();
  joins = false;
  CHECK_THROWS_WITH(backend().recording.record([&] { step.launch(); }),
                    doctest::Contains("recording a CUDA graph failed"));
  joins = true;
  gpus.close();
}

}  // namespace
