// Weight gradient of the direct convolution. An element of dw is a sum over pixels and images. A
// register block has the sums of kOuts x kColumns elements, with one partial sum per image lane,
// and keeps them in registers while it walks the pixels of a chunk; then the lanes are added up. A
// column is one (input channel, tap) pair. Threads share out the elements of dw and never the
// pixels, so no reduction across threads is needed, and any thread count gives the same bits.

#include "kernels/cpu/conv2d/weight_grad.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/conv2d/passes.h"
#include "kernels/cpu/lane_sums.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

constexpr int kOuts = 4;
constexpr int kColumns = kVecWidth == 16 ? 6 : 2;
// The dy cells of one register block and one chunk fill an L1 cache (32 KB) while all columns are
// computed.
constexpr int64_t kChunkPixels = 128;
// Largest plane, in pixels, for which pixels on padding are skipped. Skipping reads input cells
// from L2 once per tap, and larger planes have less padding to skip.
constexpr int64_t kSkipPlane = 256;
// Bytes of input cells of one chunk that stay in L2 while all outputs are computed.
constexpr int64_t kPanelBytes = 400 * 1024;

// Largest number of taps for which pixels on padding are skipped. Larger windows multiply the
// halo's zeros instead.
constexpr int64_t kMaxSkipTaps = 9;

/// A stretch of neighbouring pixels in one row: the offsets of its first cells in dy and x, and its
/// length.
struct Run {
  int64_t dy = 0;
  int64_t x = 0;
  int64_t count = 0;
};

struct Runs {
  std::array<Run, kChunkPixels> run;
  int64_t count = 0;
};

/// Cuts all pixels of all blocks into runs, and the runs into chunks.
class Chunks {
 public:
  explicit Chunks(const TapWeightGrad& grad)
      : grad_(grad),
        runs_per_row_(ceil_div(grad.columns, kChunkPixels)),
        run_length_(ceil_div(grad.columns, runs_per_row_)),
        runs_per_chunk_(kChunkPixels / run_length_),
        runs_(grad.blocks * grad.rows * runs_per_row_) {}

  int64_t count() const { return ceil_div(runs_, runs_per_chunk_); }

  /// Fills `runs` with the runs of one chunk, restricted to the pixels that the tap can use.
  void fill(int64_t chunk, const GradTap& tap, Runs& runs) const {
    runs.count = 0;
    const int64_t end = std::min(runs_, (chunk + 1) * runs_per_chunk_);
    for (int64_t index = chunk * runs_per_chunk_; index < end; ++index) {
      const int64_t block = index / runs_per_row_ / grad_.rows;
      const int64_t row = index / runs_per_row_ % grad_.rows;
      const int64_t start = index % runs_per_row_ * run_length_;
      const int64_t first = std::max(start, tap.column_begin);
      const int64_t last = std::min({start + run_length_, grad_.columns, tap.column_end});
      if (row < tap.row_begin || row >= tap.row_end || first >= last) continue;
      auto offset = [&](const TapWeightGrad::Strides& s) {
        return block * s.block + row * s.row + first * s.column;
      };
      runs.run[static_cast<size_t>(runs.count++)] = {
          .dy = offset(grad_.dy_stride), .x = offset(grad_.x_stride), .count = last - first};
    }
  }

 private:
  const TapWeightGrad& grad_;
  int64_t runs_per_row_;
  int64_t run_length_;
  int64_t runs_per_chunk_;
  int64_t runs_;
};

/// out[i] = sum of all lanes of sums[i]; out has room for whole registers.
template <int Count>
[[gnu::always_inline]] inline void add_up_all(const Vec* sums, float* out) {
  for (int begin = 0; begin < Count; begin += kVecWidth) {
    Vec group[kVecWidth] = {};
    for (int i = 0; i < kVecWidth && begin + i < Count; ++i)
      group[i] = sums[begin + i];
    store(out + begin, add_up_lanes(group));
  }
}

/// The columns of one register block: the offsets of their input cells and of their elements of dw.
struct Columns {
  int64_t x[kColumns];
  int64_t dweight[kColumns];
  int64_t count = 0;
};

struct BlockArgs {
  const float* dy = nullptr;  ///< at the first output channel of the register block
  const float* x = nullptr;   ///< at the first channel of the group
  Columns columns;
  float* dweight = nullptr;  ///< at the elements of the first output channel
  bool add = false;
};

template <int Outs, int Count>
void run_block(const TapWeightGrad& grad, const Runs& runs, const BlockArgs& args) {
  Vec sum[Outs * Count] = {};
  const int64_t dy_channel = grad.dy_stride.channel;
  const int64_t dy_step = grad.dy_stride.column;
  const int64_t x_step = grad.x_stride.column;
  for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
    const float* column[Count];
    for (int j = 0; j < Count; ++j)
      column[j] = args.x + args.columns.x[j] + lane;
    const float* dy = args.dy + lane;
    for (int64_t r = 0; r < runs.count; ++r) {
      const Run& run = runs.run[static_cast<size_t>(r)];
      int64_t at_dy = run.dy;
      int64_t at_x = run.x;
      for (int64_t i = 0; i < run.count; ++i) {
        Vec out[Outs];
        for (int o = 0; o < Outs; ++o)
          out[o] = load(dy + o * dy_channel + at_dy);
        for (int j = 0; j < Count; ++j) {
          const Vec cell = load(column[j] + at_x);
          for (int o = 0; o < Outs; ++o)
            sum[o * Count + j] += out[o] * cell;
        }
        at_dy += dy_step;
        at_x += x_step;
      }
    }
  }
  float total[(Outs * Count + kVecWidth - 1) / kVecWidth * kVecWidth];
  add_up_all<Outs * Count>(sum, total);
  const int64_t dweight_out = grad.in_channels * grad.tap_count;
  for (int o = 0; o < Outs; ++o)
    for (int j = 0; j < Count; ++j) {
      float& element = args.dweight[o * dweight_out + args.columns.dweight[j]];
      element = total[o * Count + j] + (args.add ? element : 0.0f);
    }
}

using BlockFunction = void (*)(const TapWeightGrad&, const Runs&, const BlockArgs&);

template <int Outs, size_t... Counts>
constexpr std::array<BlockFunction, sizeof...(Counts)> blocks_of(std::index_sequence<Counts...>) {
  return {run_block<Outs, static_cast<int>(Counts) + 1>...};
}

BlockFunction block_function(int64_t outs, int64_t columns) {
  using All = std::make_index_sequence<kColumns>;
  static constexpr std::array<std::array<BlockFunction, kColumns>, kOuts> kFunctions = {
      blocks_of<1>(All{}), blocks_of<2>(All{}), blocks_of<3>(All{}), blocks_of<4>(All{})};
  return kFunctions[static_cast<size_t>(outs - 1)][static_cast<size_t>(columns - 1)];
}

/// The elements of dw as a grid of register blocks. A row of the grid is a group and kOuts of its
/// output channels. The columns of a block are either channels of one tap (`by_tap`), so that the
/// tap's pixels on padding can be skipped, or, where channels are few, any neighbouring columns.
struct Grid {
  explicit Grid(const TapWeightGrad& grad)
      : by_tap(grad.in_channels >= kColumns && grad.tap_count <= kMaxSkipTaps &&
               grad.rows * grad.columns <= kSkipPlane),
        out_tiles(ceil_div(grad.out_channels, kOuts)),
        rows(grad.groups * out_tiles),
        columns(by_tap ? ceil_div(grad.in_channels, kColumns) * grad.tap_count
                       : ceil_div(grad.in_channels * grad.tap_count, kColumns)) {
    const int64_t step = grad.x_stride.column / kLanes;
    const int64_t bytes_per_channel = kChunkPixels * step * step * 2 * kLanes * 4;
    const int64_t panel_channels = ceil_div(kPanelBytes / bytes_per_channel, kColumns) * kColumns;
    panel = std::max<int64_t>(1, panel_channels * grad.tap_count / kColumns);
  }

  Columns columns_of(const TapWeightGrad& grad, int64_t tile) const {
    Columns result;
    const int64_t all = grad.in_channels * grad.tap_count;
    // `first` is the index in dw of the block's first column, and `step` the distance to the next
    // column.
    const int64_t first =
        by_tap ? tile / grad.tap_count * kColumns * grad.tap_count + tile % grad.tap_count
               : tile * kColumns;
    const int64_t step = by_tap ? grad.tap_count : 1;
    result.count = std::min<int64_t>(kColumns, ceil_div(all - first, step));
    int64_t channel = first / grad.tap_count;
    int64_t tap = first % grad.tap_count;
    for (int64_t j = 0; j < result.count; ++j) {
      result.dweight[j] = first + j * step;
      result.x[j] = channel * grad.x_stride.channel + grad.taps[tap].x;
      if (by_tap || ++tap == grad.tap_count) {
        if (!by_tap) tap = 0;
        ++channel;
      }
    }
    return result;
  }

  bool by_tap;
  int64_t out_tiles;
  int64_t rows;
  int64_t columns;
  int64_t panel = 1;  ///< number of grid columns whose input cells stay in L2
};

/// Adds one chunk to register blocks [begin, end) of one row of the grid. `runs` holds the runs of
/// each tap if the grid is by tap, and the runs of all pixels otherwise.
void run_row(const TapWeightGrad& grad, const Grid& grid, const Runs* runs, int64_t row,
             int64_t begin, int64_t end, bool add) {
  const int64_t group = row / grid.out_tiles;
  const int64_t out = row % grid.out_tiles * kOuts;
  const int64_t outs = std::min<int64_t>(kOuts, grad.out_channels - out);
  BlockArgs args;
  args.dy = grad.dy + group * grad.dy_stride.group + out * grad.dy_stride.channel;
  args.x = grad.x + group * grad.x_stride.group;
  args.dweight =
      grad.dweight + (group * grad.out_channels + out) * grad.in_channels * grad.tap_count;
  args.add = add;
  for (int64_t tile = begin; tile < end; ++tile) {
    args.columns = grid.columns_of(grad, tile);
    block_function(outs, args.columns.count)(grad, runs[grid.by_tap ? tile % grad.tap_count : 0],
                                             args);
  }
}

/// Computes register blocks [begin, end) of the grid, in row-major order, over all pixels.
void run_share(const TapWeightGrad& grad, const Grid& grid, int64_t begin, int64_t end) {
  const Chunks chunks(grad);
  const GradTap every_pixel = {.row_end = grad.rows, .column_end = grad.columns};
  std::array<Runs, kMaxSkipTaps> runs;
  for (int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
    for (int64_t i = 0; i < (grid.by_tap ? grad.tap_count : 1); ++i)
      chunks.fill(chunk, grid.by_tap ? grad.taps[i] : every_pixel, runs[static_cast<size_t>(i)]);
    const bool add = chunk > 0 || grad.accumulate;
    for (int64_t panel = 0; panel < grid.columns; panel += grid.panel)
      for (int64_t row = begin / grid.columns; row * grid.columns < end; ++row) {
        const int64_t first = std::max(panel, begin - row * grid.columns);
        const int64_t last = std::min({panel + grid.panel, grid.columns, end - row * grid.columns});
        if (first < last) run_row(grad, grid, runs.data(), row, first, last, add);
      }
  }
}

void bias_grad(const TapWeightGrad& grad) {
  parallel_for(grad.groups * grad.out_channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t channel = begin; channel < end; ++channel) {
      const float* dy = grad.dy + channel * grad.dy_stride.channel;
      float total = 0.0f;
      for (int64_t line = 0; line < grad.blocks * grad.rows; ++line) {
        const float* row =
            dy + line / grad.rows * grad.dy_stride.block + line % grad.rows * grad.dy_stride.row;
        Vec sum = {};
        for (int64_t i = 0; i < grad.columns; ++i)
          for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
            sum += load(row + i * grad.dy_stride.column + lane);
        float row_total[kVecWidth];
        add_up_all<1>(&sum, row_total);
        total += row_total[0];
      }
      grad.dbias[channel] = total + (grad.accumulate ? grad.dbias[channel] : 0.0f);
    }
  });
}

}  // namespace

void tap_weight_grad(const TapWeightGrad& grad) {
  const Grid grid(grad);
  parallel_for(grid.rows * grid.columns,
               [&](int64_t begin, int64_t end, int) { run_share(grad, grid, begin, end); });
  if (grad.dbias) bias_grad(grad);
}

namespace {

TapWeightGrad::Strides strides_of(const ActivationShape& shape, int64_t groups, int64_t step) {
  const int64_t plane = shape.plane_stride() * kLanes;
  return {.block = shape.block_stride() * kLanes,
          .group = shape.channels / groups * plane,
          .channel = plane,
          .row = shape.row_stride() * kLanes * step,
          .column = kLanes * step};
}

}  // namespace

void conv2d_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const Conv2dShape& shape, GradWrite write, void* workspace,
                        const Launch& launch) {
  GradTap* taps = static_cast<GradTap*>(workspace);
  for (int64_t r = 0; r < shape.kernel_h; ++r)
    for (int64_t s = 0; s < shape.kernel_w; ++s) {
      GradTap& tap = taps[r * shape.kernel_w + s];
      tap.x = ((r - shape.padding) * shape.in.row_stride() + s - shape.padding) * kLanes;
      // Output pixel i is multiplied with input cell i * stride + r - padding.
      auto begin = [&](int64_t position) {
        return ceil_div(std::max<int64_t>(0, shape.padding - position), shape.stride);
      };
      auto end = [&](int64_t position, int64_t in, int64_t out) {
        const int64_t last = in - 1 + shape.padding - position;
        return last < 0 ? 0 : std::min(out, last / shape.stride + 1);
      };
      tap.row_begin = begin(r);
      tap.row_end = end(r, shape.in.height, shape.out.height);
      tap.column_begin = begin(s);
      tap.column_end = end(s, shape.in.width, shape.out.width);
    }

  TapWeightGrad grad;
  grad.dweight = static_cast<float*>(dweight);
  grad.dbias = static_cast<float*>(dbias);
  grad.dy = static_cast<const float*>(dy);
  grad.dy_stride = strides_of(shape.out, shape.groups, 1);
  grad.x = static_cast<const float*>(x);
  grad.x_stride = strides_of(shape.in, shape.groups, shape.stride);
  grad.taps = taps;
  grad.tap_count = shape.kernel_h * shape.kernel_w;
  grad.blocks = ceil_div(launch.batch, kLanes);
  grad.groups = shape.groups;
  grad.out_channels = shape.out_channels_per_group();
  grad.in_channels = shape.in_channels_per_group();
  grad.rows = shape.out.height;
  grad.columns = shape.out.width;
  grad.accumulate = write == GradWrite::accumulate;
  tap_weight_grad(grad);
}

void conv2d_bias_grad(void* dbias, const void* dy, const Conv2dShape& shape, GradWrite write,
                      const Launch& launch) {
  TapWeightGrad grad;
  grad.dbias = static_cast<float*>(dbias);
  grad.dy = static_cast<const float*>(dy);
  grad.dy_stride = strides_of(shape.out, 1, 1);
  grad.blocks = ceil_div(launch.batch, kLanes);
  grad.out_channels = shape.out.channels;
  grad.rows = shape.out.height;
  grad.columns = shape.out.width;
  grad.accumulate = write == GradWrite::accumulate;
  bias_grad(grad);
}

}  // namespace SCULPT_ISA_NAMESPACE
