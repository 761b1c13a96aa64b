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

WindowShape shape_of(const PixelGrid2d& pixels) {
  if (pixels.in_column == 2) return kStridedWindow;
  return pixels.columns >= kWideColumns ? kWideWindow : kNarrowWindow;
}

/// An entry and the cell of the window that it meets.
struct PlacedEntry {
  TapEntry entry;
  int32_t cell = 0;
};

/// Returns the kind of the group that begins at entry `i`. `end` is the end of the list.
TapGroup group_at(const std::vector<PlacedEntry>& entries, size_t i, size_t end) {
  const PlacedEntry& first = entries[i];
  const auto is_at = [&](size_t k, int32_t distance) {
    return k < end && entries[k].entry.in_channel == first.entry.in_channel &&
           entries[k].entry.row == first.entry.row && entries[k].cell == first.cell + distance;
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
                 const std::vector<TapEntry>& entries, TapSums sums) {
  // Measured in docs/results/sparse_windows.md. The gradient of the weight gains most, because its
  // kernel without windows loads a cell for each multiply-add.
  const bool per_entry = sums == TapSums::per_entry;
  const int64_t least_channels = per_entry ? 1 : 64;
  const double least_per_channel = per_entry ? 30 : 100;  // entries per input channel
  const double least_per_kernel = per_entry ? 0.4 : 1.4;  // entries per pair of channels
  const int64_t rows = pixels.columns >= kWideColumns ? 2 : 4;
  if (entries.empty() || in_channels < least_channels || pixels.in_column > 2 ||
      pixels.rows < rows || pixels.columns < (pixels.in_column == 2 ? kWideColumns : kLeastColumns))
    return false;
  const Bounds bounds = bounds_of(entries);
  const auto count = static_cast<double>(entries.size());
  return bounds.last_row - bounds.first_row <= 2 && bounds.last_column - bounds.first_column <= 2 &&
         count >= least_per_channel * static_cast<double>(in_channels) &&
         count >= least_per_kernel * static_cast<double>(in_channels * out_channels);
}

int64_t window_channels(const PixelGrid2d& pixels, int64_t in_channels) {
  const int64_t most = kWindowCells / shape_of(pixels).cells();
  return ceil_div(in_channels, ceil_div(in_channels, most));
}

TapWindows arrange_windows(const PixelGrid2d& pixels, const TapInput& in, int64_t out_channels,
                           int64_t lists, std::vector<TapEntry>& entries) {
  const Bounds bounds = bounds_of(entries);
  TapWindows windows{.shape = shape_of(pixels),
                     .channels = window_channels(pixels, in.channels),
                     .first_row = bounds.first_row,
                     .first_column = bounds.first_column,
                     .tap_rows = bounds.last_row - bounds.first_row + 1,
                     .tap_columns = bounds.last_column - bounds.first_column + 1,
                     .in = in,
                     .starts = {0},
                     .counts = {},
                     .group_cells = {},
                     .entry_cells = {}};
  const auto list_of = [&](const TapEntry& e) {
    return e.in_channel / windows.channels * out_channels + e.out_channel;
  };
  const auto cell_of = [&](const TapEntry& e) {
    const int64_t row =
        e.in_channel % windows.channels * windows.shape.rows + e.row - bounds.first_row;
    const int64_t column = e.column - bounds.first_column;
    const int64_t place = pixels.in_column == 2 ? column % 2 * kStridedOdd + column / 2 : column;
    return static_cast<int32_t>(row * windows.shape.columns + place);
  };
  std::vector<PlacedEntry> of_list;
  size_t next = 0;  // the next entry to place
  std::vector<TapEntry> arranged;
  arranged.reserve(entries.size());
  windows.entry_cells.reserve(entries.size());
  for (int64_t list = 0; list < lists; ++list) {
    of_list.clear();
    for (; next < entries.size() && list_of(entries[next]) == list; ++next)
      of_list.push_back({entries[next], cell_of(entries[next])});
    std::ranges::sort(of_list, {}, &PlacedEntry::cell);
    std::array<std::vector<size_t>, kTapGroups> groups;  // the first entry of each group
    for (size_t i = 0; i < of_list.size();) {
      const TapGroup group = group_at(of_list, i, of_list.size());
      groups[static_cast<size_t>(group)].push_back(i);
      i += entries_of(group);
    }
    for (size_t kind = 0; kind < groups.size(); ++kind) {
      windows.counts.push_back(static_cast<int32_t>(groups[kind].size()));
      for (const size_t first : groups[kind]) {
        windows.group_cells.push_back(of_list[first].cell);
        for (size_t i = 0; i < entries_of(static_cast<TapGroup>(kind)); ++i) {
          arranged.push_back(of_list[first + i].entry);
          windows.entry_cells.push_back(of_list[first + i].cell);
        }
      }
    }
    windows.starts.push_back(std::ssize(windows.group_cells));
  }
  entries = std::move(arranged);
  return windows;
}

}  // namespace sculpt::kernels
