#include "kernels/sparse_pattern.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/common/check.h"

namespace sculpt::kernels {
namespace {

/// Returns the number of input channels of one segment. The cells of a segment that one tile of
/// pixels reads should stay in cache. A segment should also have enough entries of each row that
/// loading and storing the sums is a small part of the work.
int64_t segment_channels(int64_t in_channels, int64_t out_channels, int64_t entries) {
  constexpr int64_t kCached = 24;       // cells of a 3x3 window over 16 pixels, in an L1 of 48 KiB
  constexpr double kEntriesOfRow = 12;  // entries of a row in one segment, at least
  const double per_channel = static_cast<double>(entries) /
                             static_cast<double>(std::max<int64_t>(1, in_channels * out_channels));
  if (per_channel <= 0.2)
    return in_channels;  // 98 % of 3x3 weights are gone: cells are hardly reused
  const auto enough = static_cast<int64_t>(kEntriesOfRow / per_channel);
  const int64_t wanted = std::clamp<int64_t>(std::max(kCached, enough), 1, in_channels);
  return ceil_div(in_channels, ceil_div(in_channels, wanted));
}

SparseTaps make_taps(const PixelGrid2d& pixels, const TapInput& in, int64_t out_channels,
                     bool by_windows, std::vector<TapEntry> entries) {
  SparseTaps taps;
  taps.pixels = pixels;
  taps.out_channels = out_channels;
  const int64_t channels = by_windows
                               ? window_channels(pixels, in.channels)
                               : segment_channels(in.channels, out_channels, std::ssize(entries));
  taps.segments = std::max<int64_t>(1, ceil_div(in.channels, channels));
  const int64_t rows = taps.segments * out_channels;
  const auto row_of = [&](const TapEntry& e) {
    return e.in_channel / channels * out_channels + e.out_channel;
  };
  std::ranges::sort(entries, [&](const TapEntry& a, const TapEntry& b) {
    const int64_t row_a = row_of(a), row_b = row_of(b);
    return row_a != row_b ? row_a < row_b : in.offset(a) < in.offset(b);
  });
  if (by_windows) taps.windows = arrange_windows(pixels, in, out_channels, rows, entries);
  taps.starts.assign(static_cast<size_t>(rows + 1), 0);
  for (const TapEntry& e : entries) {
    ++taps.starts[static_cast<size_t>(row_of(e) + 1)];
    taps.offsets.push_back(static_cast<int32_t>(in.offset(e)));
    taps.weights.push_back(static_cast<int32_t>(e.weight));
  }
  for (size_t i = 1; i < taps.starts.size(); ++i)
    taps.starts[i] += taps.starts[i - 1];
  return taps;
}

/// Calls visit(o, c, r, s, index) for every kept weight; o and c count over all groups.
template <class Visit>
void for_each_kept(const Conv2dShape& shape, std::span<const uint8_t> mask, const Visit& visit) {
  const int64_t ins = shape.in_channels_per_group();
  int64_t index = 0;
  for (int64_t o = 0; o < shape.out.channels; ++o) {
    const int64_t first = o / shape.out_channels_per_group() * ins;
    for (int64_t c = 0; c < ins; ++c)
      for (int64_t r = 0; r < shape.kernel_h; ++r)
        for (int64_t s = 0; s < shape.kernel_w; ++s, ++index)
          if (mask[static_cast<size_t>(index)] != 0) visit(o, first + c, r, s, index);
  }
}

TapInput input_of(const ActivationShape& shape) {
  return {shape.channels, shape.plane_stride(), shape.row_stride()};
}

/// The taps of the forward pass, and those of the gradient of the weight if that pass walks the
/// same entries in another order.
struct OutputTaps {
  SparseTaps forward;
  std::optional<SparseTaps> weight_grad;
};

OutputTaps output_taps(const Conv2dShape& shape, std::span<const uint8_t> mask) {
  std::vector<TapEntry> entries;
  for_each_kept(shape, mask, [&](int64_t o, int64_t c, int64_t r, int64_t s, int64_t index) {
    entries.push_back({o, c, r, s, index});
  });
  PixelGrid2d pixels;
  pixels.rows = shape.out.height;
  pixels.columns = shape.out.width;
  pixels.out_block = shape.out.block_stride();
  pixels.out_channel = shape.out.plane_stride();
  pixels.out_row = shape.out.row_stride();
  pixels.out_column = 1;
  pixels.in_block = shape.in.block_stride();
  pixels.in_first = -shape.padding * (shape.in.row_stride() + 1);
  pixels.in_row = shape.stride * shape.in.row_stride();
  pixels.in_column = shape.stride;
  const TapInput in = input_of(shape.in);
  const int64_t outs = shape.out.channels;
  const bool forward = windows_pay(pixels, in.channels, outs, entries, TapSums::per_pixel);
  const bool weight_grad = windows_pay(pixels, in.channels, outs, entries, TapSums::per_entry);
  OutputTaps taps;
  if (weight_grad != forward) taps.weight_grad = make_taps(pixels, in, outs, weight_grad, entries);
  taps.forward = make_taps(pixels, in, outs, forward, std::move(entries));
  return taps;
}

/// Returns the taps of the input pixels (row, column) with row % stride == row_class and column %
/// stride == column_class.
SparseTaps input_grad_taps(const Conv2dShape& shape, std::span<const uint8_t> mask,
                           int64_t row_class, int64_t column_class) {
  const int64_t stride = shape.stride;
  std::vector<TapEntry> entries;
  for_each_kept(shape, mask, [&](int64_t o, int64_t c, int64_t r, int64_t s, int64_t index) {
    // The output (row, column) is (input + padding - tap) / stride, where this is a whole number.
    const int64_t row = row_class + shape.padding - r, column = column_class + shape.padding - s;
    if (row % stride != 0 || column % stride != 0) return;
    entries.push_back({c, o, row / stride, column / stride, index});
  });
  PixelGrid2d pixels;
  pixels.rows = ceil_div(shape.in.height - row_class, stride);
  pixels.columns = ceil_div(shape.in.width - column_class, stride);
  pixels.out_block = shape.in.block_stride();
  pixels.out_channel = shape.in.plane_stride();
  pixels.out_first = row_class * shape.in.row_stride() + column_class;
  pixels.out_row = stride * shape.in.row_stride();
  pixels.out_column = stride;
  pixels.in_block = shape.out.block_stride();
  pixels.in_row = shape.out.row_stride();
  pixels.in_column = 1;
  const TapInput in = input_of(shape.out);
  const bool by_windows =
      windows_pay(pixels, in.channels, shape.in.channels, entries, TapSums::per_pixel);
  return make_taps(pixels, in, shape.in.channels, by_windows, std::move(entries));
}

/// Returns true if the elements are 0, 1, 2, ...
bool in_order(std::span<const int32_t> weights) {
  for (size_t i = 0; i < weights.size(); ++i)
    if (weights[i] != static_cast<int32_t>(i)) return false;
  return true;
}

void store_at(SparseTaps& taps, std::span<const int32_t> places) {
  for (int32_t& weight : taps.weights)
    weight = places[static_cast<size_t>(weight)];
  if (in_order(taps.weights)) taps.weights = {};
}

}  // namespace

SparsePattern::SparsePattern(const Conv2dShape& shape, std::span<const uint8_t> mask)
    : shape_(shape) {
  SCULPT_CHECK(static_cast<int64_t>(mask.size()) == shape.weight_count(),
               "a mask of {} elements for {} weights", mask.size(), shape.weight_count());
  const int64_t largest =
      std::max({shape.in.block_stride(), shape.out.block_stride(), shape.weight_count()});
  if (largest > std::numeric_limits<int32_t>::max() / 16)
    fail("a sparse convolution of {} elements is too large", largest);
  OutputTaps taps = output_taps(shape, mask);
  forward_ = std::move(taps.forward);
  weight_grad_ = std::move(taps.weight_grad);
  for (int64_t i = 0; i < std::min(shape.stride, shape.in.height); ++i)
    for (int64_t j = 0; j < std::min(shape.stride, shape.in.width); ++j)
      input_grad_.push_back(input_grad_taps(shape, mask, i, j));
}

void SparsePattern::keep_only() {
  // ranks[w] becomes the rank of weight w among the kept weights. The values for masked weights are
  // not used.
  std::vector<int32_t> ranks(static_cast<size_t>(shape_.weight_count()));
  for (const int32_t weight : forward_.weights)
    ranks[static_cast<size_t>(weight)] = 1;
  std::exclusive_scan(ranks.begin(), ranks.end(), ranks.begin(), 0);
  store_at(forward_, ranks);
  if (weight_grad_) store_at(*weight_grad_, ranks);
  for (SparseTaps& taps : input_grad_)
    store_at(taps, ranks);
}

}  // namespace sculpt::kernels
