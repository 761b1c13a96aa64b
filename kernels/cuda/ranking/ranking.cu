// Ranking by radix select (kernels/ranking.h), for all segments at once. The key of a score is an
// unsigned integer of the same order. A histogram pass per digit (11, 11 and 10 bits; double has 6
// digits) narrows down the lowest key that is kept. One pass then counts the keys that equal this
// lowest key, in segments that cannot keep all of them, and one pass writes the mask, where ties
// are broken by index. A segment is settled, and skipped by the remaining passes, as soon as all
// keys with the digits found so far are kept.
//
// A pass reads a score (4 or 8 bytes) and a candidate (1 byte). Float: at most 5 passes and a byte
// of mask, 26 bytes per weight, in 8 launches. Double: at most 8 passes, 73 bytes, in 14 launches;
// usually the segments are settled before the low digits, which leaves about 40 bytes. In addition,
// two tables of a few KiB are copied to the device, 16 bytes are copied back, and the host waits
// once. The kernels are bound by memory bandwidth.
//
// A block processes a unit, which is a contiguous stretch of one segment, so the order of units is
// that of the indices. All atomics are on integers, so their order does not affect the result.

#include <algorithm>
#include <vector>

#include "kernels/cuda/device/read_back.h"
#include "kernels/cuda/ranking/units.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

using namespace ranking;

constexpr int64_t kMostStretches = 1024;  // of a segment; a large GPU runs about as many at once
constexpr int64_t kShortestStretch = 4096;

/// Returns the sum of `value` over this thread and all threads before it. shared[kThreads - 1] is
/// the sum over the block.
__device__ Count inclusive_scan(Count value, Count* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // other threads may still read `shared`
  shared[thread] = value;
  __syncthreads();
  for (int distance = 1; distance < kThreads; distance *= 2) {
    const Count left = thread >= distance ? shared[thread - distance] : 0;
    __syncthreads();
    shared[thread] += left;
    __syncthreads();
  }
  return shared[thread];
}

/// Counts the candidates whose key starts with the prefix, by their next digit.
template <class Score>
__global__ void __launch_bounds__(kThreads)
    histogram_kernel(Work<Score> work, int prefix_bits, int digit_bits) {
  follow_previous_kernels();
  using Key = KeyOf<Score>;
  __shared__ Count histogram[kBins];
  const Unit unit = unit_of_block(work);
  if (work.segments[unit.segment].settled) return;
  const auto prefix = static_cast<Key>(work.segments[unit.segment].prefix);
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
    histogram[bin] = 0;
  __syncthreads();
  const int shift = kKeyBits<Score> - prefix_bits - digit_bits;
  const Key digit_mask = (Key{1} << digit_bits) - 1;
  for (int64_t i = first_group<Score>(unit); i < unit.end; i += kWindow<Score>) {
    const Group<Score> group = load_group(work, unit, i);
    SCULPT_UNROLL
    for (int j = 0; j < Group<Score>::kSize; ++j) {
      const Score score = group.score[j];
      if (!group.here[j]) continue;
      if (prefix_bits == 0 && score != score)
        atomicMin(&work.problems->first_nan, static_cast<unsigned long long>(i + j));
      const Key key = key_of(score);
      if (prefix_bits > 0 && (key ^ prefix) >> (kKeyBits<Score> - prefix_bits) != 0) continue;
      atomicAdd(&histogram[(key >> shift) & digit_mask], Count{1});
    }
  }
  __syncthreads();
  Count* all = work.histograms + int64_t{unit.segment} * kBins;
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
    if (histogram[bin] != 0) atomicAdd(&all[bin], histogram[bin]);
}

/// Appends the digit of the wanted-th highest key to the prefix, with one block per segment. Leaves
/// zeros in the histogram.
template <class Score>
__global__ void __launch_bounds__(kThreads)
    digit_kernel(Work<Score> work, int prefix_bits, int digit_bits) {
  follow_previous_kernels();
  constexpr int kRun = kBins / kThreads;
  __shared__ Count sums[kThreads];
  Segment& segment = work.segments[blockIdx.x];
  if (segment.settled) return;
  const Count wanted = segment.wanted;
  // Threads with higher numbers have lower bins.
  Count* bins = work.histograms + int64_t{blockIdx.x} * kBins + kBins - 1 -
                static_cast<int>(threadIdx.x) * kRun;
  Count mine = 0;
  for (int b = 0; b < kRun; ++b)
    mine += bins[-b];
  const Count with_mine = inclusive_scan(mine, sums);
  const bool first = threadIdx.x == 0;
  if (first && prefix_bits == 0) {
    segment.candidates = sums[kThreads - 1];
    if (wanted > segment.candidates) atomicMin(&work.problems->short_segment, blockIdx.x);
    if (wanted == 0) {
      segment.prefix = ~uint64_t{0};  // larger than any kept key
      segment.settled = true;
    }
  }
  Count before = with_mine - mine;
  if (before < wanted && wanted <= with_mine) {
    int b = 0;
    while (before + bins[-b] < wanted)
      before += bins[-b++];
    const auto digit = static_cast<uint64_t>(bins - b - (work.histograms + blockIdx.x * kBins));
    segment.prefix |= digit << (kKeyBits<Score> - prefix_bits - digit_bits);
    segment.wanted = wanted - before;
    segment.settled = bins[-b] == segment.wanted;
  }
  for (int b = 0; b < kRun; ++b)
    bins[-b] = 0;
}

/// In segments that cannot keep all keys equal to the lowest key, counts these keys.
template <class Score>
__global__ void __launch_bounds__(kThreads) count_equal_kernel(Work<Score> work) {
  follow_previous_kernels();
  __shared__ Count all;
  const Unit unit = unit_of_block(work);
  if (work.segments[unit.segment].settled) return;
  const auto lowest = static_cast<KeyOf<Score>>(work.segments[unit.segment].prefix);
  if (threadIdx.x == 0) all = 0;
  __syncthreads();
  Count found = 0;
  for (int64_t i = first_group<Score>(unit); i < unit.end; i += kWindow<Score>) {
    const Group<Score> group = load_group(work, unit, i);
    SCULPT_UNROLL
    for (int j = 0; j < Group<Score>::kSize; ++j)
      found += group.here[j] && key_of(group.score[j]) == lowest;
  }
  if (found != 0) atomicAdd(&all, found);
  __syncthreads();
  if (threadIdx.x == 0) work.equal[blockIdx.x] = all;
}

/// Sets keep[i...] := kept for the elements that lie in the unit.
template <class Score>
__device__ void store_kept(uint8_t* keep, const Unit& unit, int64_t i,
                           const Pack<uint8_t, Group<Score>::kSize>& kept) {
  if (holds_group<Score>(unit, i)) {
    store_pack(keep + i, kept);
    return;
  }
  for (int j = 0; j < Group<Score>::kSize; ++j)
    if (i + j >= unit.begin && i + j < unit.end) keep[i + j] = kept.at[j];
}

template <class Score>
__device__ void keep_at_least(uint8_t* keep, const Work<Score>& work, const Unit& unit,
                              KeyOf<Score> lowest) {
  for (int64_t i = first_group<Score>(unit); i < unit.end; i += kWindow<Score>) {
    const Group<Score> group = load_group(work, unit, i);
    Pack<uint8_t, Group<Score>::kSize> kept;
    SCULPT_UNROLL
    for (int j = 0; j < Group<Score>::kSize; ++j)
      kept.at[j] = group.here[j] && key_of(group.score[j]) >= lowest ? 1 : 0;
    store_kept<Score>(keep, unit, i, kept);
  }
}

/// Keeps the keys above `lowest` and the first `ties` keys of the unit that equal it. `shared` is
/// for inclusive_scan.
template <class Score>
__device__ void keep_above_and_ties(uint8_t* keep, const Work<Score>& work, const Unit& unit,
                                    KeyOf<Score> lowest, Count ties, Count* shared) {
  const int64_t windows_end = unit.end + int64_t{threadIdx.x} * Group<Score>::kSize;
  Count before = 0;  // number of ties in earlier windows
  // All threads take part in every window, because the block synchronises in it.
  for (int64_t i = first_group<Score>(unit); i < windows_end; i += kWindow<Score>) {
    const Group<Score> group = load_group(work, unit, i);
    bool equals[Group<Score>::kSize];
    Count mine = 0;
    SCULPT_UNROLL
    for (int j = 0; j < Group<Score>::kSize; ++j) {
      equals[j] = group.here[j] && key_of(group.score[j]) == lowest;
      mine += equals[j];
    }
    Count rank = before;
    if (__syncthreads_or(mine != 0)) {
      rank += inclusive_scan(mine, shared) - mine;
      before += shared[kThreads - 1];
    }
    Pack<uint8_t, Group<Score>::kSize> kept;
    SCULPT_UNROLL
    for (int j = 0; j < Group<Score>::kSize; ++j) {
      const bool above = group.here[j] && key_of(group.score[j]) > lowest;
      kept.at[j] = above || (equals[j] && rank < ties) ? 1 : 0;
      rank += equals[j];
    }
    store_kept<Score>(keep, unit, i, kept);
  }
}

/// Returns the number of candidates in earlier units of the segment whose key equals the lowest
/// key. `shared` is for inclusive_scan.
template <class Score>
__device__ Count equal_before(const Work<Score>& work, int first_unit, Count* shared) {
  Count sum = 0;
  for (int unit = first_unit + static_cast<int>(threadIdx.x); unit < static_cast<int>(blockIdx.x);
       unit += kThreads)
    sum += work.equal[unit];
  inclusive_scan(sum, shared);
  return shared[kThreads - 1];
}

template <class Score>
__global__ void __launch_bounds__(kThreads) write_mask_kernel(uint8_t* keep, Work<Score> work) {
  follow_previous_kernels();
  __shared__ Count shared[kThreads];
  if (work.problems->first_nan != kNoNan || work.problems->short_segment != kNoSegment) return;
  const Unit unit = unit_of_block(work);
  const Segment& segment = work.segments[unit.segment];
  const auto lowest = static_cast<KeyOf<Score>>(segment.prefix);
  if (segment.settled) {
    keep_at_least(keep, work, unit, lowest);
    return;
  }
  // Ties are cut within one unit. Units before it keep all of their ties, and units behind it none.
  const Count before = equal_before(work, segment.first_unit, shared);
  const Count ties = segment.wanted > before ? segment.wanted - before : 0;
  if (ties >= work.equal[blockIdx.x])
    keep_at_least(keep, work, unit, lowest);
  else if (ties == 0)
    keep_at_least(keep, work, unit, lowest + 1);
  else
    keep_above_and_ties(keep, work, unit, lowest, ties, shared);
}

int64_t round_up(int64_t n, int64_t multiple) {
  return ceil_div(n, multiple) * multiple;
}

int64_t stretch_for(int64_t count) {
  return std::max(kShortestStretch, round_up(ceil_div(count, kMostStretches), kWindow<float>));
}

/// The table of segments in its initial state, and the number of units.
struct Table {
  std::vector<Segment> segments;
  int64_t stretch = 0;
  int units = 0;
};

Table table_of(std::span<const RankingSegment> ranked) {
  Table table;
  int64_t count = 0;
  for (const RankingSegment& r : ranked) {
    if (r.keep < 0 || r.keep > r.count)
      raise("cannot keep " + std::to_string(r.keep) + " of " + std::to_string(r.count) +
            " scores: the number must be between 0 and that");
    count += r.count;
  }
  if (count >= int64_t{~Count{0}})
    raise("cannot rank " + std::to_string(count) + " scores: the counters have 32 bits");
  table.stretch = stretch_for(count);
  for (const RankingSegment& r : ranked) {
    Segment segment = {};
    segment.offset = r.offset;
    segment.count = r.count;
    segment.wanted = static_cast<Count>(r.keep);
    segment.first_unit = table.units;
    table.segments.push_back(segment);
    table.units += static_cast<int>(ceil_div(r.count, table.stretch));
  }
  return table;
}

struct Layout {
  size_t segments, histograms, equal, bytes;
};

Layout layout_of(int64_t count, int64_t segments) {
  const auto n = static_cast<size_t>(segments);
  const auto units = static_cast<size_t>(ceil_div(count, stretch_for(count)) + segments);
  Layout layout;
  layout.segments = sizeof(Problems);
  layout.histograms = layout.segments + n * sizeof(Segment);
  layout.equal = layout.histograms + n * kBins * sizeof(Count);
  layout.bytes = layout.equal + units * sizeof(Count);
  return layout;
}

size_t workspace_bytes(int64_t count, int64_t segments) {
  return layout_of(count, segments).bytes;
}

template <class Score>
Work<Score> start(const Score* scores, const uint8_t* candidate, const Table& table,
                  void* workspace) {
  int64_t count = 0;
  for (const Segment& segment : table.segments)
    count += segment.count;
  const size_t n = table.segments.size();
  const Layout layout = layout_of(count, static_cast<int64_t>(n));
  auto* base = static_cast<std::byte*>(workspace);
  Work<Score> work;
  work.scores = scores;
  work.candidate = candidate;
  work.problems = reinterpret_cast<Problems*>(base);
  work.segments = reinterpret_cast<Segment*>(base + layout.segments);
  work.segment_count = static_cast<int>(n);
  work.stretch = table.stretch;
  work.histograms = reinterpret_cast<Count*>(base + layout.histograms);
  work.equal = reinterpret_cast<Count*>(base + layout.equal);
  const Problems none;
  copy_in(work.problems, &none, sizeof(none), "starting a ranking");
  copy_in(work.segments, table.segments.data(), n * sizeof(Segment), "starting a ranking");
  set_bytes(work.histograms, 0, n * kBins * sizeof(Count), "starting a ranking");
  return work;
}

template <class Score>
RankingResult select_top_k(uint8_t* keep, const Score* scores, const uint8_t* candidate,
                           std::span<const RankingSegment> segments, void* workspace,
                           void* stream) {
  if (segments.empty()) return {};
  const Table table = table_of(segments);
  const Work<Score> work = start(scores, candidate, table, workspace);
  const dim3 units(static_cast<unsigned>(table.units)), block(kThreads);
  const dim3 one_each(static_cast<unsigned>(segments.size()));
  int prefix_bits = 0;
  for (const int bits : Radix<Score>::kDigitBits) {
    SCULPT_LAUNCH(histogram_kernel<Score>, units, block, 0, stream, work, prefix_bits, bits);
    SCULPT_LAUNCH(digit_kernel<Score>, one_each, block, 0, stream, work, prefix_bits, bits);
    prefix_bits += bits;
  }
  SCULPT_LAUNCH(count_equal_kernel<Score>, units, block, 0, stream, work);
  SCULPT_LAUNCH(write_mask_kernel<Score>, units, block, 0, stream, keep, work);

  const Problems problems = read_back(work.problems, "ranking");
  if (problems.first_nan != kNoNan) return {static_cast<int64_t>(problems.first_nan)};
  if (problems.short_segment != kNoSegment) {
    const Segment segment = read_back(work.segments + problems.short_segment, "ranking");
    raise("cannot keep " + std::to_string(segments[problems.short_segment].keep) + " of " +
          std::to_string(segment.candidates) +
          " candidates: the number must be between 0 and that");
  }
  return {};
}

}  // namespace

RankingKernels ranking_kernels() {
  return {select_top_k<float>, select_top_k<double>, workspace_bytes};
}

}  // namespace sculpt::kernels::cuda
