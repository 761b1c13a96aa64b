#include "kernels/tap_windows.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/sparse_pattern.h"

namespace sculpt::kernels {
namespace {

// Planes with at least this many columns have wide windows.
constexpr int64_t kWideColumns = 8;
constexpr int64_t kLeastColumns = 4;

/// The smallest and the largest of the entries' rows and columns.
struct Bounds {
  int64_t first_row = 0, last_row = 0, first_column = 0, last_column = 0;
};

Bounds bounds_of(const std::vector<TapEntry>& entries) {
  const auto [row, last_row] = std::ranges::minmax(entries, {}, &TapEntry::row);
  const auto [column, last_column] = std::ranges::minmax(entries, {}, &TapEntry::column);
  return {row.row, last_row.row, column.column, last_column.column};
}

/// Returns the kind of the group that begins at entry `i`. `end` is the end of the row of the
/// lists.
TapGroup group_at(const std::vector<TapEntry>& entries, size_t i, size_t end) {
  const TapEntry& first = entries[i];
  const auto is_at = [&](size_t k, int64_t column) {
    return k < end && entries[k].in_channel == first.in_channel && entries[k].row == first.row &&
           entries[k].column == first.column + column;
  };
  if (is_at(i + 1, 1)) return is_at(i + 2, 2) ? TapGroup::triple : TapGroup::neighbours;
  return is_at(i + 1, 2) ? TapGroup::outer : TapGroup::single;
}

size_t entries_of(TapGroup group) {
  constexpr std::array<size_t, kTapGroups> kEntries = {1, 2, 2, 3};
  return kEntries[static_cast<size_t>(group)];
}

}  // namespace

bool windows_pay(const PixelGrid2d& pixels, int64_t in_channels, int64_t out_channels,
                 const std::vector<TapEntry>& entries) {
  // Measured in docs/results/sparse_windows.md.
  constexpr double kLeastPerChannel = 36;  // entries per input channel
  constexpr double kLeastPerKernel = 1.1;  // entries per pair of channels
  const int64_t rows = pixels.columns >= kWideColumns ? 2 : 4;
  if (entries.empty() || pixels.in_column != 1 || pixels.columns < kLeastColumns ||
      pixels.rows < rows)
    return false;
  const Bounds bounds = bounds_of(entries);
  const auto count = static_cast<double>(entries.size());
  return bounds.last_row - bounds.first_row <= 2 && bounds.last_column - bounds.first_column <= 2 &&
         count >= kLeastPerChannel * static_cast<double>(in_channels) &&
         count >= kLeastPerKernel * static_cast<double>(in_channels * out_channels);
}

int64_t window_channels(int64_t in_channels) {
  return ceil_div(in_channels, ceil_div(in_channels, kWindowChannels));
}

TapWindows arrange_windows(const PixelGrid2d& pixels, const TapInput& in, int64_t out_channels,
                           int64_t rows, std::vector<TapEntry>& entries) {
  const Bounds bounds = bounds_of(entries);
  TapWindows windows{.shape = pixels.columns >= kWideColumns ? kWideWindow : kNarrowWindow,
                     .channels = window_channels(in.channels),
                     .first_row = bounds.first_row,
                     .first_column = bounds.first_column,
                     .in = in,
                     .starts = {0},
                     .counts = {},
                     .group_cells = {},
                     .entry_cells = {}};
  const auto row_of = [&](const TapEntry& e) {
    return e.in_channel / windows.channels * out_channels + e.out_channel;
  };
  const auto cell_of = [&](const TapEntry& e) {
    const int64_t channel = e.in_channel % windows.channels;
    return static_cast<int32_t>((channel * windows.shape.rows + e.row - bounds.first_row) *
                                    windows.shape.columns +
                                e.column - bounds.first_column);
  };
  std::vector<TapEntry> arranged;
  arranged.reserve(entries.size());
  for (size_t begin = 0, row = 0; std::cmp_less(row, rows); ++row) {
    size_t end = begin;
    while (end < entries.size() && std::cmp_equal(row_of(entries[end]), row))
      ++end;
    std::array<std::vector<size_t>, kTapGroups> groups;  // the first entry of each group
    for (size_t i = begin; i < end;) {
      const TapGroup group = group_at(entries, i, end);
      groups[static_cast<size_t>(group)].push_back(i);
      i += entries_of(group);
    }
    for (size_t kind = 0; kind < groups.size(); ++kind) {
      windows.counts.push_back(static_cast<int32_t>(groups[kind].size()));
      for (const size_t first : groups[kind]) {
        windows.group_cells.push_back(cell_of(entries[first]));
        for (size_t i = 0; i < entries_of(static_cast<TapGroup>(kind)); ++i)
          arranged.push_back(entries[first + i]);
      }
    }
    windows.starts.push_back(std::ssize(windows.group_cells));
    begin = end;
  }
  entries = std::move(arranged);
  for (const TapEntry& e : entries)
    windows.entry_cells.push_back(cell_of(e));
  return windows;
}

}  // namespace sculpt::kernels
