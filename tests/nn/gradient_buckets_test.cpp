// The buckets in which ranks add up gradients: they cover everything once, from the last parameter
// to the first, and name the positions of exactly those values that travel.

#include "engine/nn/gradient_buckets.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <memory>
#include <numeric>

#include "engine/core/random.h"

namespace sculpt {
namespace {

using Form = GradientBucket::Form;

const std::vector<int64_t> kCounts = {70, 8, 900, 8, 5000, 16, 300, 10};
// Parameters 2, 4 and 6 have masked elements; 4 and 6 are packed where a test says so.
const std::vector<ParameterId> kMasked = {2, 4, 6};

SharedPattern random_pattern(uint64_t seed) {
  const RandomStream stream(seed, Purpose::test);
  std::vector<uint8_t> bytes;
  for (size_t p = 0; p < kCounts.size(); ++p)
    for (int64_t i = 0; i < kCounts[p]; ++i) {
      const bool can_be_masked = std::ranges::count(kMasked, static_cast<ParameterId>(p)) > 0;
      bytes.push_back(!can_be_masked || stream.word(bytes.size()) % 4 == 0 ? 1 : 0);
    }
  return std::make_shared<const KeptPattern>(kCounts, std::move(bytes));
}

/// Returns what travels of `stored` in all buckets, one after another from the first parameter to
/// the last, as the reducer's copies do it.
std::vector<double> travelling(const std::vector<GradientBucket>& buckets,
                               const std::vector<double>& stored) {
  std::vector<double> all;
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    std::vector<double> values(static_cast<size_t>(bucket->travelling), 0);
    const double* const own = stored.data() + bucket->begin;
    if (bucket->form == Form::in_place) std::copy_n(own, values.size(), values.begin());
    for (size_t j = 0; j < bucket->indices.size(); ++j) {
      const auto index = static_cast<size_t>(bucket->indices[j]);
      bucket->form == Form::gathered ? values.at(j) = own[index] : values.at(index) = own[j];
    }
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

void check_cover(const std::vector<GradientBucket>& buckets, const ArenaLayout& layout,
                 int64_t least_values) {
  ParameterId next = static_cast<ParameterId>(layout.size()) - 1;
  int64_t end = layout.count();
  for (size_t b = 0; b < buckets.size(); ++b) {
    const GradientBucket& bucket = buckets[b];
    CHECK(bucket.last == next);
    CHECK(bucket.end == end);
    CHECK(bucket.first <= bucket.last);
    if (b + 1 < buckets.size()) CHECK(bucket.travelling >= least_values);
    next = bucket.first - 1;
    end = bucket.begin;
  }
  CHECK(next == -1);
  CHECK(end == 0);
}

TEST_CASE("gradient buckets: kept values travel, or all of them, in every layout") {
  const SharedPattern pattern = random_pattern(3);
  const std::vector<std::vector<ParameterId>> packings = {{}, {4, 6}, {2, 4, 6}};
  std::vector<double> whole(
      static_cast<size_t>(std::accumulate(kCounts.begin(), kCounts.end(), 0)));
  std::iota(whole.begin(), whole.end(), 1.0);
  std::vector<double> kept, zeroed = whole;
  for (size_t i = 0; i < whole.size(); ++i)
    pattern->bytes()[i] != 0 ? kept.push_back(whole[i]) : static_cast<void>(zeroed[i] = 0);
  for (const auto& packed : packings) {
    const ArenaLayout layout = packed.empty() ? ArenaLayout(kCounts) : ArenaLayout(pattern, packed);
    std::vector<double> stored(static_cast<size_t>(layout.count()));
    packed.empty() ? static_cast<void>(stored = zeroed) : layout.pack(stored.data(), zeroed.data());
    for (const int64_t least : {int64_t{1}, int64_t{100}, int64_t{1000}, int64_t{1} << 40}) {
      CAPTURE(packed.size());
      CAPTURE(least);
      const auto of_kept = plan_buckets(layout, *pattern, Exchange::kept, least);
      check_cover(of_kept, layout, least);
      CHECK(travelling(of_kept, stored) == kept);
      const auto of_all = plan_buckets(layout, *pattern, Exchange::whole, least);
      check_cover(of_all, layout, least);
      CHECK(travelling(of_all, stored) == zeroed);
    }
  }
}

TEST_CASE("gradient buckets: values that are stored as they travel need no copies") {
  const SharedPattern pattern = random_pattern(4);
  const auto all_in_place = [](const std::vector<GradientBucket>& buckets) {
    return std::ranges::all_of(buckets, [](const GradientBucket& bucket) {
      return bucket.form == Form::in_place && bucket.indices.empty();
    });
  };
  CHECK(all_in_place(plan_buckets(ArenaLayout(pattern, kMasked), *pattern, Exchange::kept, 64)));
  CHECK(all_in_place(plan_buckets(ArenaLayout(kCounts), *pattern, Exchange::whole, 64)));
  // A bucket of dense parameters is in place even if others are not.
  const auto buckets = plan_buckets(ArenaLayout(kCounts), *pattern, Exchange::kept, 1);
  CHECK(buckets.size() == kCounts.size());
  for (const GradientBucket& bucket : buckets) {
    const bool masked = std::ranges::count(kMasked, bucket.first) > 0;
    CHECK((bucket.form == (masked ? Form::gathered : Form::in_place)));
  }
}

}  // namespace
}  // namespace sculpt
