#pragma once
// Runs of the sample kernels on device memory, and whether their results are right.

#include <cstring>
#include <vector>

#include "sample_kernels.h"

namespace samples {

/// Device memory with a copy of `values`.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : size_(values.size()) {
    cudaMalloc(&data_, size_ * sizeof(T));
    cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  /// Memory with the contents that cudaMalloc leaves.
  explicit DeviceArray(size_t size) : size_(size) { cudaMalloc(&data_, size_ * sizeof(T)); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }

  T* data() { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

/// Small integers, whose sums are exact in any order.
inline std::vector<float> small_values(size_t n, uint32_t seed) {
  std::vector<float> values(n);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 24) % 17 - 8);
  }
  return values;
}

template <Mutation kMutation = Mutation::kNone>
bool block_sum_is_right() {
  constexpr int kSize = 1000;
  constexpr int kBlocks = (kSize + kBlock - 1) / kBlock;
  const std::vector<float> x = small_values(kSize, 1);
  std::vector<float> expected(kBlocks);
  for (int i = 0; i < kSize; ++i)
    expected[i / kBlock] += x[i];
  DeviceArray<float> device_x(x);
  DeviceArray<float> sums(kBlocks);
  SCULPT_LAUNCH(block_sum<kMutation>, kBlocks, kBlock, 0, nullptr, device_x.data(), sums.data(),
                kSize);
  return sums.read() == expected;
}

template <Mutation kMutation = Mutation::kNone>
bool tiled_gemm_is_right() {
  constexpr int n = 21;
  const std::vector<float> a = small_values(n * n, 2);
  const std::vector<float> b = small_values(n * n, 3);
  std::vector<float> expected(n * n);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j)
      for (int k = 0; k < n; ++k)
        expected[i * n + j] += a[i * n + k] * b[k * n + j];
  DeviceArray<float> device_a(a), device_b(b), c(n * n);
  const dim3 grid(3, 3);
  const dim3 block(8, 8);
  SCULPT_LAUNCH(tiled_gemm<kMutation>, grid, block, 2 * 64 * sizeof(float), nullptr,
                device_a.data(), device_b.data(), c.data(), n);
  return c.read() == expected;
}

template <Mutation kMutation = Mutation::kNone>
bool block_scan_is_right() {
  constexpr int kBlocks = 3;
  std::vector<int> x(kBlocks * kBlock), expected(kBlocks * kBlock);
  for (int i = 0; i < kBlocks * kBlock; ++i) {
    x[i] = i * 37 % 101;
    expected[i] = x[i] + (i % kBlock > 0 ? expected[i - 1] : 0);
  }
  DeviceArray<int> device_x(x), scanned(x.size());
  SCULPT_LAUNCH(block_scan<kMutation>, kBlocks, kBlock, 0, nullptr, device_x.data(),
                scanned.data());
  return scanned.read() == expected;
}

template <Mutation kMutation = Mutation::kNone>
bool radix_histogram_is_right() {
  constexpr int kSize = 999;
  constexpr int kShift = 8;
  std::vector<uint32_t> keys(kSize);
  std::vector<unsigned> expected(kBins);
  for (int i = 0; i < kSize; ++i) {
    keys[i] = i * 2654435761u;
    ++expected[keys[i] >> kShift & (kBins - 1)];
  }
  DeviceArray<uint32_t> device_keys(keys);
  DeviceArray<unsigned> counts(std::vector<unsigned>(kBins, 0));
  SCULPT_LAUNCH(radix_histogram<kMutation>, 2, kBlock, 0, nullptr, device_keys.data(), kSize,
                kShift, counts.data());
  return counts.read() == expected;
}

template <Mutation kMutation = Mutation::kNone>
bool column_sums_are_right() {
  constexpr int kTiles = 5;
  constexpr int kThreads = 32;
  constexpr int kWidth = 4 * kThreads;
  const std::vector<float> x = small_values(kTiles * kWidth, 4);
  std::vector<float> expected(kWidth);
  for (int i = 0; i < kTiles * kWidth; ++i)
    expected[i % kWidth] += x[i];
  DeviceArray<float> device_x(x), sums(kWidth);
  SCULPT_LAUNCH(column_sums<kMutation>, 1, kThreads, 2 * kWidth * sizeof(float), nullptr,
                device_x.data(), sums.data(), kTiles);
  return sums.read() == expected;
}

}  // namespace samples
