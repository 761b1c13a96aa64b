// Global ranking by radix select (kernels/ranking.h): the key of a score is an unsigned integer
// that orders like it; three histograms of 11, 11 and 10 bits find the k-th highest key, then one
// pass counts the keys that equal it per block and one writes the mask, breaking ties by index.
//
// Moves five times 5 bytes per score (4 of the score, 1 of the candidate) and one byte of mask; the
// bound is memory bandwidth. Only integer atomics: the result does not depend on their order.

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

using Count = unsigned long long;

constexpr int kThreads = 256;
constexpr int kBins = 1 << 11;
constexpr int kKeyBits = 32;
constexpr int kDigitBits[] = {11, 11, 10};
constexpr int kMostBlocks = 1024;
constexpr Count kNoNan = ~Count{0};

/// What the passes tell each other.
struct Progress {
  Count histogram[kBins];
  Count first_nan;   ///< index of the first NaN among the candidates, or kNoNan
  Count candidates;  ///< of the first histogram
  Count wanted;      ///< how many to keep among the keys with the prefix
  uint32_t prefix;   ///< leading digits of the k-th highest key, in place
};

struct Workspace {
  Progress* progress;
  Count* equal;  ///< per block: candidates that equal the k-th key, then how many come before it
};

Workspace split(void* workspace) {
  auto* progress = static_cast<Progress*>(workspace);
  return {progress, reinterpret_cast<Count*>(progress + 1)};
}

__device__ uint32_t key_of(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f);  // -0 + 0 is +0
  return bits ^ (bits & 0x80000000u ? 0xffffffffu : 0x80000000u);
}

__device__ bool is_candidate(const uint8_t* candidate, int64_t i) {
  return candidate == nullptr || candidate[i] != 0;
}

__global__ void start_kernel(Progress* progress, int64_t k) {
  progress->first_nan = kNoNan;
  progress->candidates = 0;
  progress->wanted = static_cast<Count>(k);
  progress->prefix = 0;
}

__global__ void __launch_bounds__(kThreads) clear_kernel(Progress* progress) {
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
    progress->histogram[bin] = 0;
}

/// Counts candidates whose key starts with the prefix by their next digit.
__global__ void __launch_bounds__(kThreads)
    histogram_kernel(Progress* progress, const float* scores, const uint8_t* candidate,
                     int64_t count, int prefix_bits, int digit_bits) {
  __shared__ unsigned histogram[kBins];
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
    histogram[bin] = 0;
  __syncthreads();
  const int shift = kKeyBits - prefix_bits - digit_bits;
  const uint32_t digit_mask = (1u << digit_bits) - 1;
  const uint32_t prefix = progress->prefix;
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += stride) {
    const float score = scores[i];
    if (!is_candidate(candidate, i)) continue;
    if (prefix_bits == 0 && score != score) atomicMin(&progress->first_nan, static_cast<Count>(i));
    const uint32_t key = key_of(score);
    if (prefix_bits > 0 && (key ^ prefix) >> (kKeyBits - prefix_bits) != 0) continue;
    atomicAdd(&histogram[(key >> shift) & digit_mask], 1u);
  }
  __syncthreads();
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
    if (histogram[bin] != 0)
      atomicAdd(&progress->histogram[bin], static_cast<Count>(histogram[bin]));
}

/// The digit of the wanted-th highest key joins the prefix. One block; each thread sums a run of
/// bins, the first thread walks the runs.
__global__ void __launch_bounds__(kThreads)
    digit_kernel(Progress* progress, int prefix_bits, int digit_bits) {
  constexpr int kRun = kBins / kThreads;
  __shared__ Count runs[kThreads];
  const int first = static_cast<int>(threadIdx.x) * kRun;
  Count sum = 0;
  for (int bin = first; bin < first + kRun; ++bin)
    sum += progress->histogram[bin];
  runs[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (prefix_bits == 0) {
    Count all = 0;
    for (int run = 0; run < kThreads; ++run)
      all += runs[run];
    progress->candidates = all;
    if (progress->wanted > all) return;  // the host reports it
  }
  Count wanted = progress->wanted;
  int run = kThreads - 1;
  for (; run > 0 && runs[run] < wanted; --run)
    wanted -= runs[run];
  int bin = run * kRun + kRun - 1;
  for (; bin > run * kRun && progress->histogram[bin] < wanted; --bin)
    wanted -= progress->histogram[bin];
  progress->wanted = wanted;
  progress->prefix |= static_cast<uint32_t>(bin) << (kKeyBits - prefix_bits - digit_bits);
}

/// Scores of a block in the last two passes: a contiguous stretch, so that blocks are in the order
/// of the indices.
__device__ int64_t stretch(int64_t count) {
  const int64_t per_block = (count + gridDim.x - 1) / gridDim.x;
  return (per_block + kThreads - 1) / kThreads * kThreads;
}

__global__ void __launch_bounds__(kThreads)
    count_equal_kernel(Count* equal, const Progress* progress, const float* scores,
                       const uint8_t* candidate, int64_t count) {
  const int64_t begin = blockIdx.x * stretch(count);
  const int64_t end = min(begin + stretch(count), count);
  const uint32_t threshold = progress->prefix;
  Count found = 0;
  for (int64_t base = begin; base < end; base += kThreads) {
    const int64_t i = base + threadIdx.x;
    const bool equals = i < end && key_of(scores[i]) == threshold && is_candidate(candidate, i);
    found += static_cast<Count>(__syncthreads_count(equals));
  }
  if (threadIdx.x == 0) equal[blockIdx.x] = found;
}

/// Counts per block become counts before each block.
__global__ void scan_kernel(Count* equal, int blocks) {
  Count before = 0;
  for (int block = 0; block < blocks; ++block) {
    const Count here = equal[block];
    equal[block] = before;
    before += here;
  }
}

__global__ void __launch_bounds__(kThreads)
    write_mask_kernel(uint8_t* keep, const Count* equal, const Progress* progress,
                      const float* scores, const uint8_t* candidate, int64_t count) {
  __shared__ unsigned warp_counts[kThreads / kWarp];
  const int64_t begin = blockIdx.x * stretch(count);
  const int64_t end = min(begin + stretch(count), count);
  const uint32_t threshold = progress->prefix;
  const Count ties = progress->wanted;
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  Count before = equal[blockIdx.x];
  for (int64_t base = begin; base < end; base += kThreads) {
    const int64_t i = base + threadIdx.x;
    const bool here = i < end && is_candidate(candidate, i);
    const uint32_t key = here ? key_of(scores[i]) : 0;
    const bool equals = here && key == threshold;
    const unsigned vote = __ballot_sync(0xffffffffu, equals);
    if (lane == 0) warp_counts[warp] = static_cast<unsigned>(__popc(vote));
    __syncthreads();
    Count rank = before + static_cast<Count>(__popc(vote & ((1u << lane) - 1)));
    unsigned all = 0;
    for (unsigned w = 0; w < kThreads / kWarp; ++w) {
      if (w < warp) rank += warp_counts[w];
      all += warp_counts[w];
    }
    if (i < end) keep[i] = here && (key > threshold || (equals && rank < ties)) ? 1 : 0;
    before += all;
    __syncthreads();  // warp_counts is written again
  }
}

size_t workspace_bytes(int64_t /*count*/) {
  return sizeof(Progress) + kMostBlocks * sizeof(Count);
}

Progress read_back(const Progress* progress, cudaStream_t stream) {
  Progress result;
  check(cudaMemcpyAsync(&result, progress, sizeof(result), cudaMemcpyDeviceToHost, stream),
        "reading the ranking's progress");
  check(cudaStreamSynchronize(stream), "ranking");
  return result;
}

RankingResult select_top_k(uint8_t* keep, const float* scores, const uint8_t* candidate,
                           int64_t count, int64_t k, void* workspace, void* stream) {
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const Workspace work = split(workspace);
  const auto blocks =
      static_cast<unsigned>(std::min<int64_t>(ceil_div(count, kThreads * 8), kMostBlocks));
  const dim3 grid(blocks), block(kThreads), one(1);
  if (k < 0) raise("cannot keep " + std::to_string(k) + " weights: the number is negative");
  SCULPT_LAUNCH(start_kernel, one, one, 0, stream, work.progress, k);
  int prefix_bits = 0;
  for (const int bits : kDigitBits) {
    SCULPT_LAUNCH(clear_kernel, one, block, 0, stream, work.progress);
    SCULPT_LAUNCH(histogram_kernel, grid, block, 0, stream, work.progress, scores, candidate, count,
                  prefix_bits, bits);
    SCULPT_LAUNCH(digit_kernel, one, block, 0, stream, work.progress, prefix_bits, bits);
    if (prefix_bits == 0) {
      const Progress found = read_back(work.progress, cuda_stream);
      if (found.first_nan != kNoNan) return {static_cast<int64_t>(found.first_nan)};
      if (static_cast<Count>(k) > found.candidates)
        raise("cannot keep " + std::to_string(k) + " of " + std::to_string(found.candidates) +
              " candidates: the number must be between 0 and that");
      if (k == 0) {
        if (count > 0)
          check(cudaMemsetAsync(keep, 0, static_cast<size_t>(count), cuda_stream), "ranking");
        return {};
      }
    }
    prefix_bits += bits;
  }
  SCULPT_LAUNCH(count_equal_kernel, grid, block, 0, stream, work.equal, work.progress, scores,
                candidate, count);
  SCULPT_LAUNCH(scan_kernel, one, one, 0, stream, work.equal, static_cast<int>(blocks));
  SCULPT_LAUNCH(write_mask_kernel, grid, block, 0, stream, keep, work.equal, work.progress, scores,
                candidate, count);
  check(cudaStreamSynchronize(cuda_stream), "ranking");
  return {};
}

}  // namespace

RankingKernels ranking_kernels() {
  return {workspace_bytes, select_top_k};
}

}  // namespace sculpt::kernels::cuda
