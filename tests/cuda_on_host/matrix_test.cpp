// mma and ldmatrix against plain loops. The fragment layouts are those of the PTX ISA. That a
// device has the same is shown by the same file, compiled by nvcc (test_fragments, on a GPU).

#include <doctest/doctest.h>

#include "kernels/cuda/element.h"
#include "orders.h"
#include "sample_runs.h"

namespace {

using namespace samples;

const int kNumOrders = static_cast<int>(all_orders().size());

std::vector<uint16_t> to_bf16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values)
    bits.push_back(from_float<bf16>(value).bits);
  return bits;
}

std::vector<float> transpose(const std::vector<float>& values, int rows, int columns) {
  std::vector<float> result(values.size());
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j)
      result[j * rows + i] = values[i * columns + j];
  return result;
}

// 16 x k times k x 8.
std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, int k) {
  std::vector<float> c(16 * 8);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int l = 0; l < k; ++l)
        c[i * 8 + j] += a[i * k + l] * b[l * 8 + j];
  return c;
}

constexpr int kDepth = 48;

template <Storage kA, Storage kB, bool kPairs>
bool mma_gemm_is_right() {
  const std::vector<float> a = small_values(16 * kDepth, 6);
  const std::vector<float> b = small_values(kDepth * 8, 7);
  DeviceArray<uint16_t> device_a(to_bf16(kA == Storage::kRowMajor ? a : transpose(a, 16, kDepth)));
  DeviceArray<uint16_t> device_b(to_bf16(kB == Storage::kRowMajor ? b : transpose(b, kDepth, 8)));
  DeviceArray<float> c(16 * 8);
  SCULPT_LAUNCH((mma_gemm<kA, kB, kPairs>), 1, 32, 0, nullptr, device_a.data(), device_b.data(),
                c.data(), kDepth);
  return c.read() == product(a, b, kDepth);
}

TEST_CASE("matrix products: bf16 mma with operands from ldmatrix") {
  constexpr Storage kRow = Storage::kRowMajor, kColumn = Storage::kColumnMajor;
  CHECK(count_orders(mma_gemm_is_right<kRow, kColumn, true>) == kNumOrders);
  CHECK(count_orders(mma_gemm_is_right<kRow, kRow, true>) == kNumOrders);
  CHECK(count_orders(mma_gemm_is_right<kColumn, kColumn, true>) == kNumOrders);
  CHECK(count_orders(mma_gemm_is_right<kColumn, kRow, false>) == kNumOrders);
  CHECK(count_orders(mma_gemm_is_right<kRow, kColumn, false>) == kNumOrders);
}

bool tf32_gemm_is_right(std::vector<float> a, const std::vector<float>& b, float added_to_a) {
  const std::vector<float> expected = product(a, b, kDepth);
  for (float& value : a)
    value += added_to_a;
  DeviceArray<float> device_a(a), device_b(b), c(16 * 8);
  SCULPT_LAUNCH(tf32_gemm, 1, 32, 0, nullptr, device_a.data(), device_b.data(), c.data(), kDepth);
  return c.read() == expected;
}

TEST_CASE("matrix products: tf32 mma, which does not see the lower 13 bits") {
  std::vector<float> a = small_values(16 * kDepth, 8);
  const std::vector<float> b = small_values(kDepth * 8, 9);
  CHECK(count_orders([&] { return tf32_gemm_is_right(a, b, 0.0f); }) == kNumOrders);
  for (float& value : a)
    value = 16.0f + value;  // positive, so that more bits make it larger
  CHECK(tf32_gemm_is_right(a, b, 0x1p-9f));
  CHECK(!tf32_gemm_is_right(a, b, 0x1p-6f));
}

// The fragments of mma.m16n8k16, written down from the ISA element by element: element i of a is
// (row, column) = (group or group + 8, ...), independently of how ldmatrix distributes a matrix.
__global__ void fragments_by_element(const uint16_t* a, const uint16_t* b, float* c) {
  const int group = threadIdx.x >> 2;
  const int member = threadIdx.x % 4;
  uint16_t elements_a[8], elements_b[4];
  for (int i = 0; i < 8; ++i) {
    const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    const int column = member * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    elements_a[i] = a[row * 16 + column];
  }
  for (int i = 0; i < 4; ++i) {
    const int row = member * 2 + (i & 1) + (i >= 2 ? 8 : 0);
    elements_b[i] = b[row * 8 + group];
  }
  uint32_t fragment_a[4], fragment_b[2];
  memcpy(fragment_a, elements_a, sizeof(fragment_a));
  memcpy(fragment_b, elements_b, sizeof(fragment_b));
  float sum[4] = {};
  mma_bf16_16816(sum, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8;
    c[row * 8 + member * 2 + (i & 1)] = sum[i];
  }
}

TEST_CASE("matrix products: the fragments of a bf16 mma, element by element") {
  const std::vector<float> a = small_values(16 * 16, 10);
  const std::vector<float> b = small_values(16 * 8, 11);
  DeviceArray<uint16_t> device_a(to_bf16(a)), device_b(to_bf16(b));
  DeviceArray<float> c(16 * 8);
  SCULPT_LAUNCH(fragments_by_element, 1, 32, 0, nullptr, device_a.data(), device_b.data(),
                c.data());
  CHECK(c.read() == product(a, b, 16));
}

__global__ void load_matrices(const uint16_t* words, uint32_t* straight, uint32_t* transposed) {
  __shared__ __align__(16) uint16_t matrices[4 * 64];
  for (int i = threadIdx.x; i < 4 * 64; i += 32)
    matrices[i] = words[i];
  __syncwarp();
  uint32_t r[4];
  ldmatrix_x4(r, &matrices[8 * threadIdx.x]);
  for (int m = 0; m < 4; ++m)
    straight[32 * m + threadIdx.x] = r[m];
  ldmatrix_x4_trans(r, &matrices[8 * threadIdx.x]);
  for (int m = 0; m < 4; ++m)
    transposed[32 * m + threadIdx.x] = r[m];
}

TEST_CASE("matrix products: ldmatrix gives lane i two neighbours of row i / 4, or of a column") {
  std::vector<uint16_t> words(4 * 64);
  for (int i = 0; i < 4 * 64; ++i)
    words[i] = static_cast<uint16_t>(1000 + i);
  DeviceArray<uint16_t> device_words(words);
  DeviceArray<uint32_t> straight(128), transposed(128);
  SCULPT_LAUNCH(load_matrices, 1, 32, 0, nullptr, device_words.data(), straight.data(),
                transposed.data());
  for (int m = 0; m < 4; ++m)
    for (int i = 0; i < 32; ++i) {
      const int row = i / 4, column = 2 * (i % 4);
      const auto element = [&](int y, int x) { return uint32_t{words[64 * m + 8 * y + x]}; };
      CHECK(straight.read()[32 * m + i] == (element(row, column) | element(row, column + 1) << 16));
      CHECK(transposed.read()[32 * m + i] ==
            (element(column, row) | element(column + 1, row) << 16));
    }
}

}  // namespace
