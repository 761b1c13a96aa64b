#pragma once
// PTX instructions that CUDA C++ cannot express: matrix loads, matrix multiply-adds and
// asynchronous copies. On the host, functions of tests/cuda_on_host replace them.

#include <cstdint>
#include <cuda_runtime.h>

#include "kernels/cuda/element.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda {

#if !defined(SCULPT_CUDA_ON_HOST)
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
#endif

/// Loads four matrices of 8 rows of 16 bytes. Lane i points at row i % 8 of matrix i / 8. It
/// receives word i % 4 of row i / 4 of every matrix.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::ldmatrix_x4(r, shared_row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
#endif
}

/// The same, but each matrix of 8 x 8 two-byte elements arrives transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::ldmatrix_x4_trans(r, shared_row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
#endif
}

/// Loads two matrices; lanes 0 to 15 point at the rows.
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* shared_row) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::ldmatrix_x2(r, shared_row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared_row))
               : "memory");
#endif
}

__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared_row) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::ldmatrix_x2_trans(r, shared_row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared_row))
               : "memory");
#endif
}

/// d += a b; a is 16 x 16 and b 16 x 8 of bf16, d 16 x 8 of float.
__device__ __forceinline__ void mma_bf16_16816(float (&d)[4], const uint32_t (&a)[4],
                                               const uint32_t (&b)[2]) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::mma_bf16_16816(d, a, b);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/// d += a b; a is 16 x 8 and b 8 x 8 of tf32, d 16 x 8 of float.
__device__ __forceinline__ void mma_tf32_1688(float (&d)[4], const uint32_t (&a)[4],
                                              const uint32_t (&b)[2]) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::mma_tf32_1688(d, a, b);
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/// Returns the bits of a float rounded to the 10 mantissa bits of tf32. Without this, the
/// multiplier would truncate them.
__device__ __forceinline__ uint32_t round_to_tf32(uint32_t bits) {
#if defined(SCULPT_CUDA_ON_HOST)
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? (bits + 0x1000u) & 0xffffe000u : bits;
#else
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
#endif
}

/// Returns two floats rounded to bf16 (to the nearest value, ties to even) in one word, `low` in
/// its lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
#if defined(SCULPT_CUDA_ON_HOST)
  return from_float<bf16>(low).bits | static_cast<uint32_t>(from_float<bf16>(high).bits) << 16;
#else
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#endif
}

/// Starts a copy of 16 bytes from global to shared memory. If `valid` is false, writes zeros
/// instead and does not read `global`, which must be aligned nevertheless. The copy goes through
/// L1, because the windows of neighbouring pixels overlap.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::cp_async_16(shared, global, valid);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
#endif
}

/// Closes the group of the copies that this thread has started.
__device__ __forceinline__ void cp_async_commit() {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::cp_async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most kPending of this thread's groups are unfinished.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::cp_async_wait<kPending>();
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

}  // namespace sculpt::kernels::cuda
