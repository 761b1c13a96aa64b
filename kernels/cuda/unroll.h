#pragma once
// Loop unrolling in device code. On the host, the compiler decides for itself.

/// SCULPT_UNROLL stands before a loop whose array indices must be constants, so that the arrays
/// stay in registers. SCULPT_UNROLL_BY stands before a loop that should be unrolled `count` times.
#if defined(SCULPT_CUDA_ON_HOST)
#define SCULPT_UNROLL
#define SCULPT_UNROLL_BY(count)
#else
#define SCULPT_PRAGMA(text) _Pragma(#text)
#define SCULPT_UNROLL _Pragma("unroll")
#define SCULPT_UNROLL_BY(count) SCULPT_PRAGMA(unroll(count))
#endif
