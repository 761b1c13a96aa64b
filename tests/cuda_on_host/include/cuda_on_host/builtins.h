#pragma once
// The language extensions and device functions that kernels use. Functions that wait take the place
// of the call as default arguments, for the report if the wait never ends.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "cuda_on_host/grid.h"
#include "cuda_on_host/sanitizers.h"
#include "cuda_on_host/vector_types.h"

// Qualifiers --------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static  // one block at a time: its threads share what is static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

namespace cuda_on_host {

#define CUDA_ON_HOST_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// Operations of a warp ----------------------------------------------------------------------------

struct ShuffleLane {
  uint64_t value;
  int source;
  uint64_t result;
};
void exchange_shuffle(WarpExchange& warp);

template <class T>
T shuffle(const char* what, uint32_t mask, T value, int source, const char* file, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles words of 4 or 8 bytes");
  ShuffleLane self{0, source, 0};
  memcpy(&self.value, &value, sizeof(T));
  warp_rendezvous(what, mask, exchange_shuffle, &self, false, file, line);
  memcpy(&value, &self.result, sizeof(T));
  return value;
}

struct VoteLane {
  bool predicate;
  uint32_t ballot;
};
void exchange_votes(WarpExchange& warp);

inline uint32_t vote(const char* what, uint32_t mask, bool predicate, const char* file, int line) {
  VoteLane self{predicate, 0};
  warp_rendezvous(what, mask, exchange_votes, &self, false, file, line);
  return self.ballot;
}

void exchange_nothing(WarpExchange& warp);

}  // namespace cuda_on_host

/// T: int, unsigned, float, double, 64-bit integers.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_ON_HOST_PLACE) {
  const int segment = cuda_on_host::lane() & ~(width - 1);
  return cuda_on_host::shuffle("__shfl_sync", mask, value, segment | (source & (width - 1)), file,
                               line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_ON_HOST_PLACE) {
  const int self = cuda_on_host::lane();
  const int source = self - static_cast<int>(delta);
  return cuda_on_host::shuffle("__shfl_up_sync", mask, value,
                               source < (self & ~(width - 1)) ? self : source, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_ON_HOST_PLACE) {
  const int self = cuda_on_host::lane();
  const int source = self + static_cast<int>(delta);
  return cuda_on_host::shuffle("__shfl_down_sync", mask, value,
                               source > (self | (width - 1)) ? self : source, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, CUDA_ON_HOST_PLACE) {
  const int self = cuda_on_host::lane();
  const int source = self ^ lane_mask;
  return cuda_on_host::shuffle("__shfl_xor_sync", mask, value,
                               source > (self | (width - 1)) ? self : source, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::vote("__ballot_sync", mask, predicate != 0, file, line);
}
inline int __any_sync(unsigned mask, int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::vote("__any_sync", mask, predicate != 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::vote("__all_sync", mask, predicate == 0, file, line) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_ON_HOST_PLACE) {
  static char nothing;  // a lane that takes part brings something
  cuda_on_host::warp_rendezvous("__syncwarp", mask, cuda_on_host::exchange_nothing, &nothing, true,
                                file, line);
}

// Barriers of the block ---------------------------------------------------------------------------

inline void __syncthreads(CUDA_ON_HOST_PLACE) {
  cuda_on_host::block_barrier("__syncthreads", false, file, line);
}
inline int __syncthreads_count(int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::block_barrier("__syncthreads_count", predicate != 0, file, line).nonzero;
}
inline int __syncthreads_or(int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::block_barrier("__syncthreads_or", predicate != 0, file, line).nonzero != 0;
}
inline int __syncthreads_and(int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::block_barrier("__syncthreads_and", predicate == 0, file, line).nonzero == 0;
}

inline void __threadfence() {
  cuda_on_host::thread_fence();
}
inline void __threadfence_block() {
  cuda_on_host::thread_fence();
}

// Atomics -----------------------------------------------------------------------------------------
// Plain operations, since one OS thread runs all threads. ThreadSanitizer must know them as atomic:
// they order memory once the thread has passed a __threadfence.

namespace cuda_on_host {
template <class T, class Update>
T atomic_update(T* address, Update update) {
#if defined(CUDA_ON_HOST_TSAN)
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  if (thread_fenced())
    old = __atomic_exchange_n(address, update(__atomic_load_n(address, __ATOMIC_ACQUIRE)),
                              __ATOMIC_ACQ_REL);
  else
    __atomic_store_n(address, update(old), __ATOMIC_RELAXED);
#else
  const T old = *address;
  *address = update(old);
#endif
  return old;
}
}  // namespace cuda_on_host

#define CUDA_ON_HOST_ATOMICS(T)                                                                    \
  inline T atomicAdd(T* address, T value) {                                                        \
    return cuda_on_host::atomic_update(address, [=](T old) -> T {                                  \
      T sum;                                                                                       \
      (void)__builtin_add_overflow(old, value, &sum); /* wraps, as on the device */                \
      return sum;                                                                                  \
    });                                                                                            \
  }                                                                                                \
  inline T atomicMax(T* address, T value) {                                                        \
    return cuda_on_host::atomic_update(address, [=](T old) { return old > value ? old : value; }); \
  }                                                                                                \
  inline T atomicMin(T* address, T value) {                                                        \
    return cuda_on_host::atomic_update(address, [=](T old) { return old < value ? old : value; }); \
  }                                                                                                \
  inline T atomicOr(T* address, T value) {                                                         \
    return cuda_on_host::atomic_update(address, [=](T old) -> T { return old | value; });          \
  }                                                                                                \
  inline T atomicAnd(T* address, T value) {                                                        \
    return cuda_on_host::atomic_update(address, [=](T old) -> T { return old & value; });          \
  }                                                                                                \
  inline T atomicExch(T* address, T value) {                                                       \
    return cuda_on_host::atomic_update(address, [=](T) { return value; });                         \
  }                                                                                                \
  inline T atomicCAS(T* address, T expected, T value) {                                            \
    return cuda_on_host::atomic_update(address,                                                    \
                                       [=](T old) { return old == expected ? value : old; });      \
  }

CUDA_ON_HOST_ATOMICS(int)
CUDA_ON_HOST_ATOMICS(unsigned int)
CUDA_ON_HOST_ATOMICS(unsigned long long)
#undef CUDA_ON_HOST_ATOMICS

// Loads with a cache hint -------------------------------------------------------------------------

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T value) {
  *p = value;
}

// Bits --------------------------------------------------------------------------------------------

inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
  return __builtin_popcountll(x);
}
inline int __clz(int x) {
  return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
  return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x));
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __ffsll(long long x) {
  return __builtin_ffsll(x);
}

namespace cuda_on_host {
template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}
}  // namespace cuda_on_host
inline int __float_as_int(float x) {
  return cuda_on_host::bit_cast<int>(x);
}
inline unsigned __float_as_uint(float x) {
  return cuda_on_host::bit_cast<unsigned>(x);
}
inline float __int_as_float(int x) {
  return cuda_on_host::bit_cast<float>(x);
}
inline float __uint_as_float(unsigned x) {
  return cuda_on_host::bit_cast<float>(x);
}

// Mathematics -------------------------------------------------------------------------------------
// The rest is <cmath>. Macros where the C library declares a function of that name.

#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __powf(x, y) powf(x, y)

inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}
inline double rsqrt(double x) {
  return 1.0 / sqrt(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
inline float __frcp_rn(float x) {
  return 1.0f / x;
}
inline float __fsqrt_rn(float x) {
  return sqrtf(x);
}
inline float __fmul_rn(float x, float y) {
  return x * y;
}
inline float __fadd_rn(float x, float y) {
  return x + y;
}
inline double __dmul_rn(double x, double y) {
  return x * y;
}
inline double __dadd_rn(double x, double y) {
  return x + y;
}
inline float __fmaf_rn(float x, float y, float z) {
  return fmaf(x, y, z);
}
inline float __saturatef(float x) {
  return fminf(fmaxf(x, 0.0f), 1.0f);
}
inline int __float2int_rn(float x) {
  return static_cast<int>(rintf(x));
}

#define CUDA_ON_HOST_MIN_MAX(T) \
  inline T min(T a, T b) {      \
    return b < a ? b : a;       \
  }                             \
  inline T max(T a, T b) {      \
    return a < b ? b : a;       \
  }
CUDA_ON_HOST_MIN_MAX(int)
CUDA_ON_HOST_MIN_MAX(unsigned int)
CUDA_ON_HOST_MIN_MAX(long)
CUDA_ON_HOST_MIN_MAX(unsigned long)
CUDA_ON_HOST_MIN_MAX(long long)
CUDA_ON_HOST_MIN_MAX(unsigned long long)
#undef CUDA_ON_HOST_MIN_MAX
inline float min(float a, float b) {
  return fminf(a, b);
}
inline float max(float a, float b) {
  return fmaxf(a, b);
}
inline double min(double a, double b) {
  return fmin(a, b);
}
inline double max(double a, double b) {
  return fmax(a, b);
}
