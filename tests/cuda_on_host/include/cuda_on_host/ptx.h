#pragma once
// PTX instructions that kernels reach through kernels/cuda/ptx.h. Fragment layouts are those of the
// PTX ISA, chapter "Warp-Level Matrix Instructions"; its sections, whose numbers differ from
// version to version, are called
//   "Warp-level matrix load instruction: ldmatrix",
//   "Matrix Fragments for mma.m16n8k16 with floating point type",
//   "Matrix Fragments for mma.m16n8k8" (.tf32);
// and, of the data movement instructions, "cp.async".
// They access memory in this header, in the kernel's translation unit: the sanitizers see it.

#include <cstdint>
#include <cstring>

#include "cuda_on_host/grid.h"
#include "cuda_on_host/survey.h"

namespace cuda_on_host {

inline constexpr uint32_t kFullWarp = 0xffffffffu;

// ldmatrix ----------------------------------------------------------------------------------------

struct LdMatrixLane {
  alignas(16) uint16_t row[8];  // the row that this lane's address points at
  uint32_t* result;
};
/// Hands out kMatrices matrices of 8 rows of 8 two-byte elements.
template <int kMatrices, bool kTransposed>
void exchange_ldmatrix(WarpExchange& warp);

inline void require_aligned(const void* p, const char* what) {
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) fail(what);
}

template <int kMatrices, bool kTransposed>
void ldmatrix(uint32_t* result, const void* shared_row) {
  LdMatrixLane self;
  self.result = result;
  // Lanes whose address is not used must have a valid one, too.
  require_aligned(shared_row, "ldmatrix from an address that is not a multiple of 16");
  if (lane() < 8 * kMatrices) memcpy(self.row, shared_row, sizeof(self.row));
  warp_rendezvous("ldmatrix", kFullWarp, exchange_ldmatrix<kMatrices, kTransposed>, &self, false,
                  nullptr, 0);
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
  ldmatrix<4, false>(r, shared_row);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  ldmatrix<4, true>(r, shared_row);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* shared_row) {
  ldmatrix<2, false>(r, shared_row);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared_row) {
  ldmatrix<2, true>(r, shared_row);
}

// mma ---------------------------------------------------------------------------------------------

/// d += a b, by the whole warp: 16 x 16 times 16 x 8 of bf16, accumulated in float.
void mma_bf16_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
/// Multiplies 16 x 8 by 8 x 8 matrices of tf32, which are floats whose lower 13 bits are ignored.
void mma_tf32_1688(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// cp.async ----------------------------------------------------------------------------------------

/// Begins to copy 16 bytes, or zeros if not `valid`. The destination holds garbage until the wait.
/// PTX demands an aligned address of every copy: one that reads no byte is no exception.
inline void cp_async_16(void* shared, const void* global, bool valid) {
  require_aligned(shared, "cp.async to an address that is not a multiple of 16");
  require_aligned(global, "cp.async from an address that is not a multiple of 16");
  AsyncCopy copy{shared, {}};
  if (valid) {
    memcpy(copy.data, global, sizeof(copy.data));
    count_copy(sizeof(copy.data));
  }
  static constexpr uint64_t kGarbage[2] = {0x7fff7fff7fff7fffull, 0x7fff7fff7fff7fffull};
  memcpy(shared, kGarbage, sizeof(kGarbage));
  async_copy_push(copy);
}

inline void cp_async_commit() {
  async_copy_commit();
}

/// Waits until at most kGroups of the thread's groups are pending.
template <int kGroups>
void cp_async_wait() {
  AsyncCopy copy;
  while (async_copy_pop(kGroups, &copy))
    memcpy(copy.shared, copy.data, sizeof(copy.data));
}

}  // namespace cuda_on_host
