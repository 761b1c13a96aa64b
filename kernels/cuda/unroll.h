#pragma once
// Loop unrolling in device code; the host's compiler decides for itself.

/// Before a loop whose array indices must be constants, so that the arrays stay in registers; and
/// before one that should run `count` rounds at a time.
#if defined(SCULPT_CUDA_ON_HOST)
#define SCULPT_UNROLL
#define SCULPT_UNROLL_BY(count)
#else
#define SCULPT_PRAGMA(text) _Pragma(#text)
#define SCULPT_UNROLL _Pragma("unroll")
#define SCULPT_UNROLL_BY(count) SCULPT_PRAGMA(unroll(count))
#endif
