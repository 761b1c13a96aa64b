// Weight gradient. An element of dw is a sum over pixels and images, so the sums of kOuts x
// kColumns elements stay in registers as one partial sum per image lane while a chunk of pixels
// runs by; then the lanes are added up. A column is one (input channel, tap) pair. Threads share
// out the elements of dw, never the pixels: no reduction across threads, the same bits for any
// thread count.

#include "kernels/cpu/conv2d_weight_grad.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/conv2d_passes.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

constexpr int kOuts = 4;
constexpr int kColumns = kVecWidth == 16 ? 6 : 2;
// dy of one register block and one chunk stays in L1 (16 KB) while all columns pass over it.
constexpr int64_t kChunkPixels = 64;
// Input cells of one chunk that stay in L2 while all outputs pass over them.
constexpr int64_t kPanelBytes = 400 * 1024;

/// A stretch of a row of pixels.
struct Run {
  int64_t dy = 0;
  int64_t x = 0;
  int64_t count = 0;
};

struct Chunk {
  std::array<Run, kChunkPixels> runs;
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

  Chunk operator[](int64_t index) const {
    Chunk chunk;
    const int64_t begin = index * runs_per_chunk_;
    chunk.count = std::min(runs_per_chunk_, runs_ - begin);
    for (int64_t i = 0; i < chunk.count; ++i) {
      const int64_t line = (begin + i) / runs_per_row_;
      const int64_t column = (begin + i) % runs_per_row_ * run_length_;
      const int64_t block = line / grad_.rows;
      const int64_t row = line % grad_.rows;
      auto offset = [&](const TapWeightGrad::Strides& s) {
        return block * s.block + row * s.row + column * s.column;
      };
      chunk.runs[static_cast<size_t>(i)] = {.dy = offset(grad_.dy_stride),
                                            .x = offset(grad_.x_stride),
                                            .count = std::min(run_length_, grad_.columns - column)};
    }
    return chunk;
  }

 private:
  const TapWeightGrad& grad_;
  int64_t runs_per_row_;
  int64_t run_length_;
  int64_t runs_per_chunk_;
  int64_t runs_;
};

/// One step of adding up the lanes of two registers at once: lanes with bit `Distance` clear hold
/// sums of a, the others sums of b.
template <int Distance>
Vec fold(Vec a, Vec b) {
  VecInt low, high;
  for (int i = 0; i < kVecWidth; ++i) {
    const bool from_b = (i & Distance) != 0;
    low[i] = from_b ? kVecWidth + (i ^ Distance) : i;
    high[i] = from_b ? kVecWidth + i : (i ^ Distance);
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

/// Lane i of the result: the sum of all lanes of v[i]. Destroys v.
template <int Distance = kVecWidth / 2>
Vec add_up_lanes(Vec* v) {
  for (int i = 0; i < Distance; ++i)
    v[i] = fold<Distance>(v[i], v[i + Distance]);
  if constexpr (Distance > 1)
    return add_up_lanes<Distance / 2>(v);
  else
    return v[0];
}

/// out[i] = sum of all lanes of sums[i].
template <int Count>
void add_up_all(const Vec* sums, float* out) {
  for (int begin = 0; begin < Count; begin += kVecWidth) {
    Vec group[kVecWidth] = {};
    for (int i = 0; i < kVecWidth && begin + i < Count; ++i)
      group[i] = sums[begin + i];
    const Vec totals = add_up_lanes(group);
    for (int i = 0; i < kVecWidth && begin + i < Count; ++i)
      out[begin + i] = totals[i];
  }
}

struct BlockArgs {
  const float* dy = nullptr;         ///< first output channel of the register block
  const float* x = nullptr;          ///< first channel of the group
  const int64_t* columns = nullptr;  ///< offsets of the columns' cells from x
  float* dweight = nullptr;          ///< first element of the register block
  int64_t dweight_out = 0;           ///< distance between output channels
  bool add = false;
};

template <int Outs, int Columns>
void run_block(const TapWeightGrad& grad, const Chunk& chunk, const BlockArgs& args) {
  Vec sum[Outs * Columns] = {};
  for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
    const float* column[Columns];
    for (int j = 0; j < Columns; ++j)
      column[j] = args.x + args.columns[j] + lane;
    const float* dy = args.dy + lane;
    for (int64_t r = 0; r < chunk.count; ++r) {
      const Run& run = chunk.runs[static_cast<size_t>(r)];
      int64_t at_dy = run.dy;
      int64_t at_x = run.x;
      for (int64_t i = 0; i < run.count; ++i) {
        Vec out[Outs];
        for (int o = 0; o < Outs; ++o)
          out[o] = load(dy + o * grad.dy_stride.channel + at_dy);
        for (int j = 0; j < Columns; ++j) {
          const Vec cell = load(column[j] + at_x);
          for (int o = 0; o < Outs; ++o)
            sum[o * Columns + j] += out[o] * cell;
        }
        at_dy += grad.dy_stride.column;
        at_x += grad.x_stride.column;
      }
    }
  }
  float total[Outs * Columns];
  add_up_all<Outs * Columns>(sum, total);
  for (int o = 0; o < Outs; ++o)
    for (int j = 0; j < Columns; ++j) {
      float& element = args.dweight[o * args.dweight_out + j];
      element = total[o * Columns + j] + (args.add ? element : 0.0f);
    }
}

using BlockFunction = void (*)(const TapWeightGrad&, const Chunk&, const BlockArgs&);

template <int Outs, size_t... Columns>
constexpr std::array<BlockFunction, sizeof...(Columns)> blocks_of(std::index_sequence<Columns...>) {
  return {run_block<Outs, static_cast<int>(Columns) + 1>...};
}

BlockFunction block_function(int64_t outs, int64_t columns) {
  using All = std::make_index_sequence<kColumns>;
  static constexpr std::array<std::array<BlockFunction, kColumns>, kOuts> kFunctions = {
      blocks_of<1>(All{}), blocks_of<2>(All{}), blocks_of<3>(All{}), blocks_of<4>(All{})};
  return kFunctions[static_cast<size_t>(outs - 1)][static_cast<size_t>(columns - 1)];
}

/// The elements of dw as a grid of register blocks.
struct Grid {
  explicit Grid(const TapWeightGrad& grad)
      : columns(grad.in_channels * grad.tap_count),
        out_tiles(ceil_div(grad.out_channels, kOuts)),
        column_tiles(ceil_div(columns, kColumns)) {
    const int64_t step = grad.x_stride.column / kLanes;
    const int64_t bytes_per_channel = kChunkPixels * step * step * 2 * kLanes * 4;
    const int64_t panel_channels = std::max<int64_t>(1, kPanelBytes / bytes_per_channel);
    panel_tiles = std::max<int64_t>(1, panel_channels * grad.tap_count / kColumns);
  }

  int64_t count(const TapWeightGrad& grad) const { return grad.groups * out_tiles * column_tiles; }

  int64_t columns;
  int64_t out_tiles;
  int64_t column_tiles;
  int64_t panel_tiles;
};

/// Adds one chunk to register blocks [begin, end) of one row of the grid.
void run_row(const TapWeightGrad& grad, const Grid& grid, const Chunk& chunk, int64_t row,
             int64_t begin, int64_t end, bool add) {
  const int64_t group = row / grid.out_tiles;
  const int64_t out = row % grid.out_tiles * kOuts;
  const int64_t outs = std::min<int64_t>(kOuts, grad.out_channels - out);
  BlockArgs args;
  args.dy = grad.dy + group * grad.dy_stride.group + out * grad.dy_stride.channel;
  args.x = grad.x + group * grad.x_stride.group;
  args.dweight_out = grid.columns;
  args.add = add;
  float* dweight = grad.dweight + (group * grad.out_channels + out) * grid.columns;

  int64_t channel = begin * kColumns / grad.tap_count;
  int64_t tap = begin * kColumns % grad.tap_count;
  for (int64_t tile = begin; tile < end; ++tile) {
    const int64_t count = std::min<int64_t>(kColumns, grid.columns - tile * kColumns);
    int64_t offsets[kColumns];
    for (int64_t j = 0; j < count; ++j) {
      offsets[j] = channel * grad.x_stride.channel + grad.taps[tap];
      if (++tap == grad.tap_count) {
        tap = 0;
        ++channel;
      }
    }
    args.columns = offsets;
    args.dweight = dweight + tile * kColumns;
    block_function(outs, count)(grad, chunk, args);
  }
}

/// Register blocks [begin, end) of the grid, in row-major order, over all pixels.
void run_share(const TapWeightGrad& grad, const Grid& grid, int64_t begin, int64_t end) {
  const Chunks chunks(grad);
  for (int64_t index = 0; index < chunks.count(); ++index) {
    const Chunk chunk = chunks[index];
    const bool add = index > 0 || grad.accumulate;
    for (int64_t panel = 0; panel < grid.column_tiles; panel += grid.panel_tiles)
      for (int64_t row = begin / grid.column_tiles; row * grid.column_tiles < end; ++row) {
        const int64_t first = std::max(panel, begin - row * grid.column_tiles);
        const int64_t last =
            std::min({panel + grid.panel_tiles, grid.column_tiles, end - row * grid.column_tiles});
        if (first < last) run_row(grad, grid, chunk, row, first, last, add);
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
        float row_total;
        add_up_all<1>(&sum, &row_total);
        total += row_total;
      }
      grad.dbias[channel] = total + (grad.accumulate ? grad.dbias[channel] : 0.0f);
    }
  });
}

}  // namespace

void tap_weight_grad(const TapWeightGrad& grad) {
  const Grid grid(grad);
  parallel_for(grid.count(grad),
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
  int64_t* taps = static_cast<int64_t*>(workspace);
  for (int64_t r = 0; r < shape.kernel_h; ++r)
    for (int64_t s = 0; s < shape.kernel_w; ++s)
      taps[r * shape.kernel_w + s] =
          ((r - shape.padding) * shape.in.row_stride() + s - shape.padding) * kLanes;

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

}  // namespace SCULPT_ISA_NAMESPACE
