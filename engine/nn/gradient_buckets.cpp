#include "engine/nn/gradient_buckets.h"

#include <algorithm>
#include <limits>

#include "engine/core/error.h"

namespace sculpt {
namespace {

using Form = GradientBucket::Form;

/// Returns how many values of a parameter travel.
int64_t travelling(const ParameterLayout& p, const KeptPattern& pattern, ParameterId id,
                   Exchange exchange) {
  return exchange == Exchange::kept ? pattern.kept(id) : p.dense_count;
}

int32_t index_of(int64_t position) {
  SCULPT_CHECK(position <= std::numeric_limits<int32_t>::max(),
               "a bucket of gradients has more than 2^31 values");
  return static_cast<int32_t>(position);
}

/// Appends the positions of the kept elements of a parameter whose first element is at `start`.
void append_kept(std::vector<int32_t>& indices, const KeptPattern& pattern, ParameterId id,
                 int64_t start) {
  for (const int64_t kept : pattern.kept_indices(id))
    indices.push_back(index_of(start + kept));
}

/// Chooses the form of a bucket and fills its indices.
void choose_form(GradientBucket& bucket, const ArenaLayout& layout, const KeptPattern& pattern) {
  const int64_t stored = bucket.end - bucket.begin;
  if (bucket.travelling == stored) return;  // the form is in_place
  const bool gathered = bucket.travelling < stored;
  bucket.form = gathered ? Form::gathered : Form::spread;
  bucket.indices.reserve(static_cast<size_t>(std::min(bucket.travelling, stored)));
  int64_t at = 0;  // of the parameter, in the longer of the two arrays
  for (ParameterId id = bucket.first; id <= bucket.last; ++id) {
    const ParameterLayout& p = layout[static_cast<size_t>(id)];
    const int64_t longer = gathered ? p.count : p.dense_count;
    const bool kept_only = gathered ? p.count > pattern.kept(id) : p.packed;
    if (kept_only)
      append_kept(bucket.indices, pattern, id, at);
    else
      for (int64_t i = 0; i < longer; ++i)
        bucket.indices.push_back(index_of(at + i));
    at += longer;
  }
}

}  // namespace

std::vector<GradientBucket> plan_buckets(const ArenaLayout& layout, const KeptPattern& pattern,
                                         Exchange exchange, int64_t least_values) {
  std::vector<GradientBucket> buckets;
  bool full = true;
  for (auto id = static_cast<ParameterId>(layout.size()) - 1; id >= 0; --id) {
    const ParameterLayout& p = layout[static_cast<size_t>(id)];
    if (full) buckets.push_back({.last = id, .end = p.offset + p.count});
    GradientBucket& bucket = buckets.back();
    bucket.first = id;
    bucket.begin = p.offset;
    bucket.travelling += travelling(p, pattern, id, exchange);
    full = bucket.travelling >= least_values;
  }
  for (GradientBucket& bucket : buckets)
    choose_form(bucket, layout, pattern);
  return buckets;
}

}  // namespace sculpt
