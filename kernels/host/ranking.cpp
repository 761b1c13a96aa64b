#include "kernels/host/ranking.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"

namespace sculpt::kernels {
namespace {

template <class Score>
struct Radix;

template <>
struct Radix<float> {
  using Key = uint32_t;
  static constexpr std::array<int, 3> kDigitBits = {11, 11, 10};
};

template <>
struct Radix<double> {
  using Key = uint64_t;
  static constexpr std::array<int, 6> kDigitBits = {11, 11, 11, 11, 10, 10};
};

constexpr int kBins = 1 << 11;

/// Maps scores to unsigned integers of the same order.
template <class Score>
typename Radix<Score>::Key key_of(Score score) {
  using Key = typename Radix<Score>::Key;
  constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);
  const Key bits = std::bit_cast<Key>(score + Score{0});  // -0 + 0 is +0
  return bits ^ (bits & kSign ? ~Key{0} : kSign);
}

template <class Score>
class TopK {
 public:
  using Key = typename Radix<Score>::Key;

  TopK(std::span<uint8_t> keep, std::span<const Score> scores, std::span<const uint8_t> candidate)
      : keep_(keep), scores_(scores), candidate_(candidate) {
    // Threads share out chunks. The counts of a chunk must fit 32 bits.
    const auto n = static_cast<int64_t>(scores.size());
    chunks_ = std::max<int64_t>(thread_count(), ceil_div(n, int64_t{1} << 31));
    histograms_.resize(static_cast<size_t>(chunks_));
  }

  /// Returns the index of the first NaN among the candidates; -1 if there is none.
  int64_t first_nan() const {
    constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
    std::vector<int64_t> found(static_cast<size_t>(chunks_), kNone);
    for_each_chunk([&](size_t chunk, int64_t begin, int64_t end) {
      constexpr int64_t kStretch = 4096;
      for (int64_t i = begin; i < end; i += kStretch) {
        const int64_t stop = std::min(end, i + kStretch);
        bool any = false;
        for (int64_t j = i; j < stop; ++j)
          any |= scores_[j] != scores_[j];
        if (!any) continue;
        for (int64_t j = i; j < stop; ++j) {
          if (scores_[j] == scores_[j] || !is_candidate(j)) continue;
          found[chunk] = j;
          return;
        }
      }
    });
    const int64_t first = *std::min_element(found.begin(), found.end());
    return first == kNone ? -1 : first;
  }

  /// Selects the k highest scores and writes the mask. Requires that there is no NaN.
  void select(int64_t k) {
    constexpr int kKeyBits = 8 * sizeof(Key);
    Key prefix = 0;  // leading digits of the k-th highest key
    int prefix_bits = 0;
    int64_t wanted = k;  // how many of the keys with this prefix to keep
    for (const int bits : Radix<Score>::kDigitBits) {
      count_digits(prefix, prefix_bits, bits);
      if (prefix_bits == 0) check_k(k);
      if (k == 0) {
        std::fill(keep_.begin(), keep_.end(), uint8_t{0});
        return;
      }
      const int64_t digit = find_digit(&wanted);
      prefix_bits += bits;
      prefix |= static_cast<Key>(digit) << (kKeyBits - prefix_bits);
      last_digit_ = static_cast<size_t>(digit);
    }
    write_mask(prefix, wanted);
  }

 private:
  using Histogram = std::array<uint32_t, kBins>;

  bool is_candidate(int64_t i) const {
    return candidate_.empty() || candidate_[static_cast<size_t>(i)] != 0;
  }

  /// Calls body(chunk, begin, end) for every chunk of the scores, in parallel.
  template <class Body>
  void for_each_chunk(const Body& body) const {
    const auto n = static_cast<int64_t>(scores_.size());
    parallel_for(chunks_, [&](int64_t first, int64_t last, int) {
      for (int64_t chunk = first; chunk < last; ++chunk)
        body(static_cast<size_t>(chunk), n / chunks_ * chunk + std::min(chunk, n % chunks_),
             n / chunks_ * (chunk + 1) + std::min(chunk + 1, n % chunks_));
    });
  }

  /// Fills histograms_[chunk][digit]: the number of candidates whose key starts with `prefix`, by
  /// their next digit.
  void count_digits(Key prefix, int prefix_bits, int digit_bits) {
    const int shift = 8 * static_cast<int>(sizeof(Key)) - prefix_bits - digit_bits;
    const Key wanted_prefix = prefix >> shift >> digit_bits;
    const bool first = prefix_bits == 0;
    const auto count =
        candidate_.empty()
            ? (first ? &TopK::count_range<true, true> : &TopK::count_range<false, true>)
            : (first ? &TopK::count_range<true, false> : &TopK::count_range<false, false>);
    for_each_chunk([&](size_t chunk, int64_t begin, int64_t end) {
      (this->*count)(histograms_[chunk], begin, end, wanted_prefix, shift, digit_bits);
    });
  }

  // Neighbouring scores often share a bin. With separate counters, an increment need not wait for
  // the one before it.
  static constexpr int64_t kCopies = 4;
  using Copies = std::array<Histogram, kCopies>;

  /// Counts the scores [begin, end). There is no branch per key, because it could not be predicted
  /// whether a key has the prefix. For later digits, whole stretches without a key of interest are
  /// skipped.
  template <bool kFirstDigit, bool kAllCandidates>
  void count_range(Histogram& histogram, int64_t begin, int64_t end, Key wanted_prefix, int shift,
                   int digit_bits) const {
    constexpr int64_t kStretch = 32;
    const uint8_t* candidate = candidate_.data();
    const Key digit_mask = (Key{1} << digit_bits) - 1;
    // Keys that start with the prefix are the range [lowest, lowest + span].
    const Key lowest = kFirstDigit ? 0 : wanted_prefix << digit_bits << shift;
    const Key span = (digit_mask << shift) | ((Key{1} << shift) - 1);
    Copies copies = {};
    auto add = [&](int64_t i, Key key, Histogram& copy) {
      const bool counts = kAllCandidates || candidate[i] != 0;
      const bool has_prefix = kFirstDigit || key - lowest <= span;
      copy[(key >> shift) & digit_mask] += has_prefix & counts ? 1 : 0;
    };
    int64_t i = begin;
    for (; i + kStretch <= end; i += kStretch) {
      const Score* scores = scores_.data() + i;
      Key keys[kStretch];
      for (int64_t j = 0; j < kStretch; ++j)
        keys[j] = key_of(scores[j]);
      if constexpr (!kFirstDigit) {
        Key found = 0;
        for (int64_t j = 0; j < kStretch; ++j)
          found |= keys[j] - lowest <= span ? ~Key{0} : 0;
        if (found == 0) continue;
      }
      for (int64_t j = 0; j < kStretch; ++j)
        add(i + j, keys[j], copies[j % kCopies]);
    }
    for (; i < end; ++i)
      add(i, key_of(scores_[i]), copies[0]);
    for (size_t bin = 0; bin < kBins; ++bin)
      histogram[bin] = copies[0][bin] + copies[1][bin] + copies[2][bin] + copies[3][bin];
  }

  void check_k(int64_t k) const {
    int64_t candidates = 0;
    for (const Histogram& histogram : histograms_)
      for (const uint32_t count : histogram)
        candidates += count;
    if (k < 0 || k > candidates)
      fail("cannot keep {} of {} candidates: the number must be between 0 and {}", k, candidates,
           candidates);
  }

  /// Returns the digit of the *wanted-th highest key. *wanted becomes the rank of that key among
  /// the keys with that digit.
  int64_t find_digit(int64_t* wanted) const {
    for (int64_t digit = kBins - 1; digit >= 0; --digit) {
      int64_t count = 0;
      for (const Histogram& histogram : histograms_)
        count += histogram[static_cast<size_t>(digit)];
      if (count >= *wanted) return digit;
      *wanted -= count;
    }
    fail("the ranking is inconsistent, because scores changed while they were ranked");
  }

  /// Keeps all keys above `threshold` and the first `ties` candidates whose key equals it. The
  /// histograms of the last digit give the number of such candidates in each chunk.
  void write_mask(Key threshold, int64_t ties) {
    std::vector<int64_t> quota(static_cast<size_t>(chunks_));
    for (size_t chunk = 0; chunk < quota.size(); ++chunk) {
      quota[chunk] = std::min<int64_t>(ties, histograms_[chunk][last_digit_]);
      ties -= quota[chunk];
    }
    for_each_chunk([&](size_t chunk, int64_t begin, int64_t end) {
      const bool all = quota[chunk] == histograms_[chunk][last_digit_];
      const int64_t cut = all ? end : behind_tie(threshold, quota[chunk], begin);
      keep_at_least(threshold, begin, cut);
      keep_at_least(threshold + 1, cut, end);
    });
  }

  /// Returns the index behind the count-th candidate whose key equals `threshold`, searching from
  /// `begin`.
  int64_t behind_tie(Key threshold, int64_t count, int64_t begin) const {
    int64_t i = begin;
    for (; count > 0; ++i)
      if (key_of(scores_[i]) == threshold && is_candidate(i)) --count;
    return i;
  }

  void keep_at_least(Key lowest, int64_t begin, int64_t end) {
    uint8_t* keep = keep_.data();
    const Score* scores = scores_.data();
    const uint8_t* candidate = candidate_.data();
    if (candidate_.empty()) {
      for (int64_t i = begin; i < end; ++i)
        keep[i] = key_of(scores[i]) >= lowest ? 1 : 0;
    } else {
      for (int64_t i = begin; i < end; ++i)
        keep[i] = (key_of(scores[i]) >= lowest) & (candidate[i] != 0) ? 1 : 0;
    }
  }

  std::span<uint8_t> keep_;
  std::span<const Score> scores_;
  std::span<const uint8_t> candidate_;
  int64_t chunks_ = 1;
  std::vector<Histogram> histograms_;
  size_t last_digit_ = 0;
};

template <class Score>
RankingResult select(uint8_t* keep, const Score* scores, const uint8_t* candidate,
                     std::span<const RankingSegment> segments, void* /*workspace*/,
                     void* /*stream*/) {
  const auto ranking_of = [&](const RankingSegment& s) {
    const auto count = static_cast<size_t>(s.count);
    return TopK<Score>({keep + s.offset, count}, {scores + s.offset, count},
                       {candidate ? candidate + s.offset : nullptr, candidate ? count : 0});
  };
  // All segments are checked before any mask is written, so that a NaN in the last segment leaves
  // the mask of the first one untouched, too.
  for (const RankingSegment& segment : segments) {
    const int64_t nan = ranking_of(segment).first_nan();
    if (nan >= 0) return {segment.offset + nan};
  }
  for (const RankingSegment& segment : segments)
    ranking_of(segment).select(segment.keep);
  return {};
}

}  // namespace

RankingKernels host_ranking_kernels() {
  return {select<float>, select<double>, [](int64_t, int64_t) { return size_t{0}; }};
}

}  // namespace sculpt::kernels
