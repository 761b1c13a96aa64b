#include "cuda_on_host/ptx.h"

#include "cuda_on_host/survey.h"

namespace cuda_on_host {
namespace {

struct MmaLane {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// d += a b for 16 x kDepth times kDepth x 8; the lanes hold d as in both instructions:
// d[i] is row lane / 4 (+ 8 for i >= 2), column 2 * (lane % 4) + i % 2.
template <int kDepth>
void multiply_add(WarpExchange& warp, const float (&a)[16][kDepth], const float (&b)[kDepth][8]) {
  float product[16][8];
  for (int row = 0; row < 16; ++row) {
    float sum[8] = {};
    for (int k = 0; k < kDepth; ++k)
      for (int column = 0; column < 8; ++column)
        sum[column] += a[row][k] * b[k][column];
    memcpy(product[row], sum, sizeof(sum));
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<MmaLane*>(warp.lane[lane])->d;
    const int row = lane / 4;
    const int column = 2 * (lane % 4);
    d[0] += product[row][column];
    d[1] += product[row][column + 1];
    d[2] += product[row + 8][column];
    d[3] += product[row + 8][column + 1];
  }
}

void require_full_warp(const WarpExchange& warp) {
  if (warp.mask != kFullWarp) fail("a matrix instruction that not all lanes of the warp execute");
}

// Register i of a holds row lane / 4 (+ 8 for odd i) and columns 2 * (lane % 4) + {0, 1} (+ 8 for
// i >= 2); register i of b holds column lane / 4 and rows 2 * (lane % 4) + {0, 1} (+ 8 for i = 1).
void exchange_mma_bf16(WarpExchange& warp) {
  require_full_warp(warp);
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* self = static_cast<const MmaLane*>(warp.lane[lane]);
    const int group = lane / 4;
    const int pair = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      float* at = &a[group + 8 * (i % 2)][pair + 8 * (i / 2)];
      at[0] = from_bits(self->a[i] << 16);
      at[1] = from_bits(self->a[i] & 0xffff0000u);
    }
    for (int i = 0; i < 2; ++i) {
      b[pair + 8 * i][group] = from_bits(self->b[i] << 16);
      b[pair + 8 * i + 1][group] = from_bits(self->b[i] & 0xffff0000u);
    }
  }
  multiply_add<16>(warp, a, b);
}

// Register i of a holds row lane / 4 (+ 8 for odd i), column lane % 4 (+ 4 for i >= 2); register i
// of b holds row lane % 4 (+ 4 for i = 1), column lane / 4.
void exchange_mma_tf32(WarpExchange& warp) {
  require_full_warp(warp);
  constexpr uint32_t kSeen = 0xffffe000u;
  float a[16][8];
  float b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* self = static_cast<const MmaLane*>(warp.lane[lane]);
    const int group = lane / 4;
    const int member = lane % 4;
    for (int i = 0; i < 4; ++i)
      a[group + 8 * (i % 2)][member + 4 * (i / 2)] = from_bits(self->a[i] & kSeen);
    for (int i = 0; i < 2; ++i)
      b[member + 4 * i][group] = from_bits(self->b[i] & kSeen);
  }
  multiply_add<8>(warp, a, b);
}

}  // namespace

// Lane i of 8 m + row points at that row of matrix m. Register m of lane i receives elements
// (i / 4, 2 * (i % 4) + {0, 1}) of matrix m, or of its transpose.
template <int kMatrices, bool kTransposed>
void exchange_ldmatrix(WarpExchange& warp) {
  require_full_warp(warp);
  for (int m = 0; m < kMatrices; ++m) {
    const uint16_t* rows[8];
    for (int row = 0; row < 8; ++row)
      rows[row] = static_cast<const LdMatrixLane*>(warp.lane[8 * m + row])->row;
    for (int i = 0; i < 32; ++i) {
      const int row = i / 4;
      const int column = 2 * (i % 4);
      const uint32_t low = kTransposed ? rows[column][row] : rows[row][column];
      const uint32_t high = kTransposed ? rows[column + 1][row] : rows[row][column + 1];
      static_cast<LdMatrixLane*>(warp.lane[i])->result[m] = low | high << 16;
    }
  }
}

template void exchange_ldmatrix<2, false>(WarpExchange& warp);
template void exchange_ldmatrix<2, true>(WarpExchange& warp);
template void exchange_ldmatrix<4, false>(WarpExchange& warp);
template void exchange_ldmatrix<4, true>(WarpExchange& warp);

void mma_bf16_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (lane() == 0) count_matrix_product();
  MmaLane self{d, a, b};
  warp_rendezvous("mma", kFullWarp, exchange_mma_bf16, &self, false, nullptr, 0);
}

void mma_tf32_1688(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (lane() == 0) count_matrix_product();
  MmaLane self{d, a, b};
  warp_rendezvous("mma", kFullWarp, exchange_mma_tf32, &self, false, nullptr, 0);
}

}  // namespace cuda_on_host
