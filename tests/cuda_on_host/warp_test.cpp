#include <bit>
#include <doctest/doctest.h>
#include <functional>

#include "orders.h"
#include "sample_runs.h"

namespace {

using namespace samples;

const int kNumOrders = static_cast<int>(all_orders().size());
constexpr unsigned kAll = 0xffffffffu;

/// Runs body(thread, results) in one block, in every order; the results of the last run.
template <class T>
std::vector<T> run_block(int num_threads, std::function<T(int)> body) {
  std::vector<T> first;
  for (const NamedOrder& order : all_orders()) {
    cuda_on_host::set_order(order.order, order.seed);
    DeviceArray<T> results(static_cast<size_t>(num_threads));
    T* out = results.data();
    cuda_on_host::run_grid("test", 1, num_threads, 0, nullptr,
                           [&] { out[threadIdx.x] = body(threadIdx.x); });
    if (first.empty()) first = results.read();
    CHECK_MESSAGE(results.read() == first, order.name);
  }
  cuda_on_host::set_order(cuda_on_host::Order::kForward);
  return first;
}

template <class T>
void check_each(const std::vector<T>& results, std::function<T(int)> expected) {
  for (size_t i = 0; i < results.size(); ++i) {
    CAPTURE(i);
    CHECK(results[i] == expected(static_cast<int>(i)));
  }
}

TEST_CASE("warp: shuffles take the value of another lane, or keep their own at the segment's end") {
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_sync(kAll, i, i + 5); }),
                  [](int i) { return i / 32 * 32 + (i + 5) % 32; });
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_sync(kAll, i, 3, 8); }),
                  [](int i) { return i / 8 * 8 + 3; });
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_up_sync(kAll, i, 3); }),
                  [](int i) { return i % 32 < 3 ? i : i - 3; });
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_up_sync(kAll, i, 3, 8); }),
                  [](int i) { return i % 8 < 3 ? i : i - 3; });
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_down_sync(kAll, i, 3); }),
                  [](int i) { return i % 32 + 3 < 32 ? i + 3 : i; });
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_down_sync(kAll, i, 3, 8); }),
                  [](int i) { return i % 8 + 3 < 8 ? i + 3 : i; });
  check_each<int>(run_block<int>(64, [](int i) { return __shfl_xor_sync(kAll, i, 9); }),
                  [](int i) { return i ^ 9; });
  // Into an earlier segment, but not into a later one.
  check_each<int>(run_block<int>(32, [](int i) { return __shfl_xor_sync(kAll, i, 8, 8); }),
                  [](int i) { return i & 8 ? i ^ 8 : i; });
}

TEST_CASE("warp: shuffles move values of four and of eight bytes") {
  check_each<float>(run_block<float>(32, [](int i) { return __shfl_xor_sync(kAll, 0.5f * i, 1); }),
                    [](int i) { return 0.5f * (i ^ 1); });
  check_each<double>(run_block<double>(32, [](int i) { return __shfl_xor_sync(kAll, 0.1 * i, 1); }),
                     [](int i) { return 0.1 * (i ^ 1); });
  check_each<unsigned long long>(
      run_block<unsigned long long>(
          32, [](int i) { return __shfl_down_sync(kAll, 0x100000000ull * i, 1); }),
      [](int i) { return 0x100000000ull * (i < 31 ? i + 1 : i); });
}

TEST_CASE("warp: votes see the lanes of their mask") {
  check_each<unsigned>(
      run_block<unsigned>(64, [](int i) { return __ballot_sync(kAll, i % 32 < 3 || i == 40); }),
      [](int i) { return i < 32 ? 7u : 7u | 1u << 8; });
  const auto any_all = run_block<int>(96, [](int i) {
    const bool predicate = i / 32 == 0 || (i / 32 == 1 && i % 2 == 0);
    return 2 * __any_sync(kAll, predicate) + __all_sync(kAll, predicate);
  });
  check_each<int>(any_all, [](int i) { return i < 32 ? 3 : i < 64 ? 2 : 0; });
}

TEST_CASE("warp: parts of a warp proceed independently by their masks") {
  const auto sums = run_block<int>(32, [](int i) {
    int sum = i;
    if (i < 8) {
      for (int delta = 4; delta > 0; delta /= 2)
        sum += __shfl_xor_sync(0x000000ffu, sum, delta);
    } else if (i % 2 == 0) {
      for (int delta = 1; delta < 4; ++delta)
        sum = __shfl_sync(0x55555500u, sum, 8 + 2 * delta);
    }
    __syncwarp();
    return sum;
  });
  check_each<int>(sums, [](int i) { return i < 8 ? 28 : i % 2 == 0 ? 10 : i; });
}

TEST_CASE("warp: lanes that exited or never existed are not waited for") {
  const auto ballots = run_block<unsigned>(40, [](int i) {
    if (i % 32 == 5) return 0u;
    return __ballot_sync(kAll, 1);
  });
  check_each<unsigned>(ballots, [](int i) {
    if (i % 32 == 5) return 0u;
    return i < 32 ? ~(1u << 5) : 0xffu & ~(1u << 5);
  });
}

TEST_CASE("warp: what one lane writes others read after __syncwarp") {
  const auto neighbours = run_block<int>(64, [](int i) {
    static int values[64];
    values[i] = 3 * i;
    __syncwarp();
    const int right = values[i ^ 31];
    __syncwarp();
    return right;
  });
  check_each<int>(neighbours, [](int i) { return 3 * (i ^ 31); });
}

TEST_CASE("warp: barriers count the threads that come with a predicate") {
  check_each<int>(run_block<int>(100, [](int i) { return __syncthreads_count(i % 3 == 0); }),
                  [](int) { return 34; });
  check_each<int>(run_block<int>(100, [](int i) { return __syncthreads_or(i == 77); }),
                  [](int) { return 1; });
  check_each<int>(run_block<int>(100, [](int) { return __syncthreads_or(0); }),
                  [](int) { return 0; });
  const auto all = run_block<int>(100, [](int i) {
    if (i >= 90) return -1;  // exited threads do not count
    const int among_those_left = __syncthreads_and(i < 90);
    return 2 * among_those_left + __syncthreads_and(i != 50);
  });
  check_each<int>(all, [](int i) { return i >= 90 ? -1 : 2; });
}

TEST_CASE("warp: threads may exit while others go on to barriers") {
  const auto rounds = run_block<int>(64, [](int i) {
    for (int round = 0; round < 64; ++round) {
      if (round == i) return round;
      __syncthreads();
    }
    return -1;
  });
  check_each<int>(rounds, [](int i) { return i; });
}

TEST_CASE("warp: integer atomics return the old value and wrap") {
  DeviceArray<unsigned> memory(std::vector<unsigned>{0, 0, 100, 0, 0xfffffff0u, 7});
  unsigned* m = memory.data();
  unsigned olds = 0;
  cuda_on_host::run_grid("test", 4, 32, 0, nullptr, [&] {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicOr(&olds, 1u << atomicAdd(&m[0], 1u) % 32);
    atomicMax(&m[1], i);
    atomicMin(&m[2], i);
    atomicOr(&m[3], 1u << threadIdx.x);
    atomicAdd(&m[4], 1u);
    atomicCAS(&m[5], i == 9 ? 7u : 1000u, 42u);
  });
  CHECK(memory.read() == std::vector<unsigned>{128, 127, 0, 0xffffffffu, 112, 42});
  CHECK(olds == 0xffffffffu);
}

TEST_CASE("warp: indices of a grid in three dimensions") {
  for (const NamedOrder& order : all_orders()) {
    cuda_on_host::set_order(order.order, order.seed);
    DeviceArray<int> visits(std::vector<int>(2 * 3 * 4 * 5 * 6 * 7, 0));
    int* v = visits.data();
    cuda_on_host::run_grid("test", dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr, [&] {
      const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
      ++v[block * 210 + thread];
    });
    CHECK(visits.read() == std::vector<int>(2 * 3 * 4 * 5 * 6 * 7, 1));
  }
  cuda_on_host::set_order(cuda_on_host::Order::kForward);
}

}  // namespace
