// Gradient of the weight by F(3x3, 4x4). A tile of 4x4 cells of dy has the role of the weight, and
// the 6x6 cells of x under it have the role of the input. The sum over tiles and images is computed
// at the points, where it is a matrix product (outputs x images of tiles) * (images of tiles x
// inputs). Only the sums are transformed to gradients.
//
// All threads go through the stages together, one chunk of tiles at a time, and the last-level
// cache holds a chunk. Points of x are written with input channels innermost, so that a product
// broadcasts dy and needs no sum over lanes.
//
// Layers with many channels and few tiles go through the stages differently: the sums of all
// channels exceed a thread's cache, and the points of all tiles fit the last-level cache as one
// chunk. A thread then computes the sums of some channels at all points and transforms them at
// once, so that the sums never leave its cache.

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/parallel.h"
#include "kernels/cpu/conv2d/passes.h"
#include "kernels/cpu/winograd/passes.h"
#include "kernels/cpu/winograd/tiles.h"
#include "kernels/winograd.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

// The register block has kOuts x kVecs sums.
constexpr int kOuts = 6;
constexpr int kVecs = kVecWidth == 16 ? 4 : 2;
constexpr int64_t kPanel = kVecs * kVecWidth;  // input channels of a register block
// Bytes of the points of x and dy for one chunk of tiles.
constexpr int64_t kChunkBytes = 10 << 20;
// The same where a chunk has all tiles.
constexpr int64_t kWholeBytes = 20 << 20;
// Sums of more bytes leave a thread's cache before they are transformed.
constexpr int64_t kCachedSums = 4 << 20;
// The most register blocks of outputs whose sums a thread transforms at once.
constexpr int64_t kGroupBlocks = 8;
// The same for a pass on blocks, where one thread has a chunk to itself.
constexpr int64_t kBlockChunkBytes = 2 << 20;

/// Sizes of the scratch arrays; they depend on the shape only.
struct Plan {
  /// of_block: the plan of a thread for the tiles of blocks that it takes alone.
  Plan(const Conv2dShape& s, int64_t batch, bool of_block = false)
      : tiles(s.in, s.out, s.padding, ceil_div(batch, kLanes)),
        in_channels(s.in.channels),
        ins(ceil_div(s.in.channels, kVecWidth) * kVecWidth),
        outs(s.out.channels),
        out_blocks(ceil_div(outs, kOuts)),
        panels(ceil_div(ins, kPanel)) {
    const int64_t count = std::max<int64_t>(1, tiles.count());
    at_once = !of_block && count * tile_bytes() <= kWholeBytes &&
              kPoints * outs * ins * int64_t{sizeof(float)} > kCachedSums;
    const int64_t chunk_bytes = of_block ? kBlockChunkBytes : kChunkBytes;
    chunk_tiles = at_once ? count : std::clamp<int64_t>(chunk_bytes / tile_bytes(), 1, count);
    // Strides have some cells more than needed. With powers of two, all points would fall into the
    // same sets of the caches.
    x_stride = ins * chunk_tiles * kLanes + 5 * kLanes;
    dy_stride = outs * chunk_tiles * kLanes + 5 * kLanes;
    sum_stride = (at_once ? kGroupBlocks * kOuts * kPanel : out_blocks * kOuts * ins) + 5 * kLanes;
  }

  /// Input channels of a panel, rounded up to whole registers.
  int64_t panel_width(int64_t panel) const { return std::min(kPanel, ins - panel * kPanel); }
  /// Bytes of the points of x and dy for one tile.
  int64_t tile_bytes() const { return kPoints * (ins + outs) * kLanes * int64_t{sizeof(float)}; }
  int64_t floats() const {
    const int64_t arrays = at_once ? thread_count() : 1;
    return kPoints * (x_stride + dy_stride + arrays * sum_stride);
  }

  WinogradTiles tiles;
  int64_t in_channels;
  int64_t ins;  ///< input channels, rounded up to whole registers
  int64_t outs;
  int64_t out_blocks, panels;
  bool at_once = false;  ///< all tiles are one chunk, and a thread transforms the sums of a group
  int64_t chunk_tiles = 1;
  int64_t x_stride = 0;    ///< [point][panel][tile][lane][input of the panel]
  int64_t dy_stride = 0;   ///< [point][output][tile][lane]
  int64_t sum_stride = 0;  ///< [point][output][input], or [thread][point][output][input] of a group
};

/// The problem and its scratch arrays.
struct Pass {
  const Conv2dShape& shape;
  const Plan& plan;
  const float* x;
  const float* dy;
  float* x_points;
  float* dy_points;
  float* sums;
  bool parallel = true;  ///< false: the calling thread computes everything
};

/// Transposes a square of kVecWidth registers.
template <int Distance = kVecWidth / 2>
[[gnu::always_inline]] inline void transpose(Vec* v) {
  VecInt low, high;
  for (int i = 0; i < kVecWidth; ++i) {
    const bool upper = (i & Distance) != 0;
    low[i] = upper ? kVecWidth + i - Distance : i;
    high[i] = upper ? kVecWidth + i : i + Distance;
  }
  for (int i = 0; i < kVecWidth; ++i) {
    if ((i & Distance) != 0) continue;
    const Vec a = v[i], b = v[i + Distance];
    v[i] = __builtin_shuffle(a, b, low);
    v[i + Distance] = __builtin_shuffle(a, b, high);
  }
  if constexpr (Distance > 1) transpose<Distance / 2>(v);
}

/// Computes the points of a tile for kVecWidth input channels starting at `channel`, and writes
/// them to place `slot` of the chunk.
void transform_x(const Pass& pass, int64_t channel, int64_t tile, int64_t slot) {
  const Plan& plan = pass.plan;
  const ActivationShape& in = pass.shape.in;
  alignas(64) float points[kPoints][kVecWidth][kLanes];
  const TileCells cells = plan.tiles.in(tile);
  const int64_t channels = std::min<int64_t>(kVecWidth, in.channels - channel);
  for (int64_t c = 0; c < channels; ++c) {
    const float* const plane = pass.x + (channel + c) * in.plane_stride() * kLanes;
    if (c + 1 < channels)
      prefetch_tile(plane + in.plane_stride() * kLanes, cells, in.row_stride() * kLanes, 0);
    transform_cells<kTileIn>(
        plane, cells, in.row_stride() * kLanes, points[0][c], kVecWidth * kLanes,
        [](const Vec(&from)[kTileIn], Vec(&to)[kTileIn])
            __attribute__((always_inline)) { transform_input(from, to); });
  }

  const int64_t panel = channel / kPanel * kPanel;
  const int64_t width = std::min(kPanel, plan.ins - panel);
  float* out =
      pass.x_points + panel * plan.chunk_tiles * kLanes + slot * kLanes * width + (channel - panel);
  for (int point = 0; point < kPoints; ++point)
    for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
      Vec square[kVecWidth];
      for (int c = 0; c < kVecWidth; ++c)
        square[c] = c < channels ? load(points[point][c] + lane) : Vec{};
      transpose(square);
      for (int i = 0; i < kVecWidth; ++i)
        store(out + point * plan.x_stride + (lane + i) * width, square[i]);
    }
}

void transform_dy(const Pass& pass, int64_t channel, int64_t tile, int64_t slot) {
  const Plan& plan = pass.plan;
  const ActivationShape& out = pass.shape.out;
  const float* const plane = pass.dy + channel * out.plane_stride() * kLanes;
  constexpr int64_t kAhead = 2;  // tiles
  if (tile + kAhead < plan.tiles.count())
    prefetch_tile(plane, plan.tiles.out(tile + kAhead), out.row_stride() * kLanes, 0);
  transform_cells<kTile>(
      plane, plan.tiles.out(tile), out.row_stride() * kLanes,
      pass.dy_points + (channel * plan.chunk_tiles + slot) * kLanes, plan.dy_stride,
      [](const auto& from, Vec(&to)[kTileIn])
          __attribute__((always_inline)) { transform_output_grad(from, to); });
}

/// Calls body(begin, end) for items [0, count), on all threads or on the calling thread alone.
template <class Body>
void for_items(bool parallel, int64_t count, const Body& body) {
  if (parallel)
    parallel_for(count, [&](int64_t begin, int64_t end, int) { body(begin, end); });
  else
    body(0, count);
}

/// Computes the points of the tiles [first, last) of x and dy.
void transform_tiles(const Pass& pass, int64_t first, int64_t last) {
  const int64_t tiles = last - first;
  const int64_t groups = pass.plan.ins / kVecWidth;
  for_items(pass.parallel, groups * tiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      transform_x(pass, i / tiles * kVecWidth, first + i % tiles, i % tiles);
  });
  for_items(pass.parallel, pass.plan.outs * tiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      transform_dy(pass, i / tiles, first + i % tiles, i % tiles);
  });
}

/// sums[o] (=, +=) sum over k < count of dy[o][k] * x[k], for kOuts outputs and Count registers of
/// inputs.
template <int Count>
void multiply(const float* const (&dy)[kOuts], const float* x, int64_t count, float* sums,
              int64_t sums_row, bool add) {
  Vec sum[kOuts][Count] = {};
  for (int64_t k = 0; k < count; ++k) {
    Vec cells[Count];
    for (int i = 0; i < Count; ++i)
      cells[i] = load(x + i * kVecWidth);
    for (int o = 0; o < kOuts; ++o) {
      const Vec factor = broadcast(dy[o][k]);
      for (int i = 0; i < Count; ++i)
        sum[o][i] += factor * cells[i];
    }
    x += Count * kVecWidth;
  }
  for (int o = 0; o < kOuts; ++o)
    for (int i = 0; i < Count; ++i) {
      float* const to = sums + o * sums_row + i * kVecWidth;
      store(to, add ? load(to) + sum[o][i] : sum[o][i]);
    }
}

using MultiplyFunction = void (*)(const float* const (&)[kOuts], const float*, int64_t, float*,
                                  int64_t, bool);

template <size_t... Counts>
constexpr std::array<MultiplyFunction, sizeof...(Counts)> multiply_functions(
    std::index_sequence<Counts...>) {
  return {multiply<static_cast<int>(Counts) + 1>...};
}

/// Computes the sums of one register block at one point over the first `tiles` tiles of a chunk.
/// sums_row: floats between the sums of neighbouring outputs. With `add`, adds to the sums.
void multiply_block(const Pass& pass, int64_t point, int64_t panel, int64_t out_block,
                    int64_t tiles, float* sums, int64_t sums_row, bool add) {
  static constexpr auto kMultiply = multiply_functions(std::make_index_sequence<kVecs>{});
  const Plan& plan = pass.plan;
  const float* dy[kOuts];  // outputs beyond the last one repeat its sums, which are not read
  for (int64_t o = 0; o < kOuts; ++o)
    dy[o] = pass.dy_points + point * plan.dy_stride +
            std::min(out_block * kOuts + o, plan.outs - 1) * plan.chunk_tiles * kLanes;
  const int64_t vecs = plan.panel_width(panel) / kVecWidth;
  kMultiply[static_cast<size_t>(vecs - 1)](
      dy, pass.x_points + point * plan.x_stride + panel * kPanel * plan.chunk_tiles * kLanes,
      tiles * kLanes, sums, sums_row, add);
}

/// Adds the products of a chunk of `tiles` tiles to the sums. Without `add`, overwrites the sums.
void multiply_points(const Pass& pass, int64_t tiles, bool add) {
  const Plan& plan = pass.plan;
  const int64_t blocks = plan.panels * plan.out_blocks;
  for_items(pass.parallel, kPoints * blocks, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t point = item / blocks;
      const int64_t panel = item % blocks / plan.out_blocks;
      const int64_t out_block = item % plan.out_blocks;
      float* const sums =
          pass.sums + point * plan.sum_stride + out_block * kOuts * plan.ins + panel * kPanel;
      multiply_block(pass, point, panel, out_block, tiles, sums, plan.ins, add);
    }
  });
}

/// Computes the gradients of one output's weights for the input channels [channel, channel +
/// kVecWidth). `sums` points at their sums at the first point.
void transform_sums(const Plan& plan, const float* sums, float* dweight, int64_t out,
                    int64_t channel, GradWrite write) {
  Vec by_column[3][kTileIn];
  for (int j = 0; j < kTileIn; ++j) {
    Vec column[kTileIn], values[3];
    for (int i = 0; i < kTileIn; ++i)
      column[i] = load(sums + (i * kTileIn + j) * plan.sum_stride);
    transform_weight_grad(column, values);
    for (int r = 0; r < 3; ++r)
      by_column[r][j] = values[r];
  }
  const int64_t channels = std::min<int64_t>(kVecWidth, plan.in_channels - channel);
  float* const gradient = dweight + (out * plan.in_channels + channel) * 9;
  for (int r = 0; r < 3; ++r) {
    Vec values[3];
    transform_weight_grad(by_column[r], values);
    for (int s = 0; s < 3; ++s)
      for (int64_t c = 0; c < channels; ++c) {
        float& element = gradient[c * 9 + r * 3 + s];
        element = values[s][c] + (write == GradWrite::accumulate ? element : 0.0f);
      }
  }
}

void transform_all_sums(const Plan& plan, const float* sums, float* dweight, GradWrite write) {
  const int64_t groups = plan.ins / kVecWidth;
  parallel_for(plan.outs * groups, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item)
      transform_sums(plan, sums + item * kVecWidth, dweight, item / groups,
                     item % groups * kVecWidth, write);
  });
}

/// Computes the gradients of the outputs of register blocks [begin, end) for the input channels of
/// one panel. `sums` is scratch of kPoints * plan.sum_stride floats.
void write_group(const Pass& pass, int64_t panel, int64_t begin, int64_t end, float* sums,
                 float* dweight, GradWrite write) {
  const Plan& plan = pass.plan;
  const int64_t width = plan.panel_width(panel);
  for (int64_t point = 0; point < kPoints; ++point)
    for (int64_t block = begin; block < end; ++block)
      multiply_block(pass, point, panel, block, plan.chunk_tiles,
                     sums + point * plan.sum_stride + (block - begin) * kOuts * width, width,
                     false);
  for (int64_t out = begin * kOuts; out < std::min(end * kOuts, plan.outs); ++out)
    for (int64_t channel = 0; channel < width; channel += kVecWidth)
      transform_sums(plan, sums + (out - begin * kOuts) * width + channel, dweight, out,
                     panel * kPanel + channel, write);
}

/// Computes the gradient from the points of all tiles. How outputs are grouped changes no sum.
void write_at_once(const Pass& pass, float* dweight, GradWrite write) {
  const Plan& plan = pass.plan;
  const int64_t wanted = plan.panels * plan.out_blocks / (4 * thread_count());
  const int64_t group = std::clamp<int64_t>(wanted, 1, kGroupBlocks);
  const int64_t groups = ceil_div(plan.out_blocks, group);
  parallel_for(plan.panels * groups, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % groups * group;
      write_group(pass, item / groups, first, std::min(plan.out_blocks, first + group),
                  pass.sums + thread * kPoints * plan.sum_stride, dweight, write);
    }
  });
}

/// The plan of a thread for the tiles of one block.
Plan block_plan(const Conv2dShape& shape) {
  return {shape, 1, /*of_block=*/true};
}

/// Floats of the sums of one partial gradient.
int64_t partial_floats(const Plan& plan) {
  return ceil_div(kPoints * plan.sum_stride, kLanes) * kLanes;
}

}  // namespace

size_t winograd_grad_scratch_bytes(const Conv2dShape& shape) {
  const Plan plan = block_plan(shape);
  return static_cast<size_t>(kPoints * (plan.x_stride + plan.dy_stride)) * sizeof(float);
}

size_t winograd_partial_bytes(const Conv2dShape& shape) {
  return static_cast<size_t>(partial_floats(block_plan(shape))) * sizeof(float);
}

void winograd_weight_grad_block(const ConvWeightGrad& args, const Conv2dShape& shape,
                                const RowRange& rows) {
  const Plan plan = block_plan(shape);
  auto* const x_points = floats(args.workspace);
  const Pass pass = {.shape = shape,
                     .plan = plan,
                     .x = floats(args.x),
                     .dy = floats(args.dy),
                     .x_points = x_points,
                     .dy_points = x_points + kPoints * plan.x_stride,
                     .sums = floats(args.dweight),
                     .parallel = false};
  const int64_t end = ceil_div(rows.end, kTile) * plan.tiles.columns();
  for (int64_t first = rows.begin / kTile * plan.tiles.columns(); first < end;
       first += plan.chunk_tiles) {
    const int64_t last = std::min(end, first + plan.chunk_tiles);
    transform_tiles(pass, first, last);
    multiply_points(pass, last - first, true);
  }
}

void winograd_sum_partials(void* dweight, void* partials, int64_t count, const Conv2dShape& shape,
                           GradWrite write) {
  const Plan plan = block_plan(shape);
  const int64_t stride = partial_floats(plan);
  float* const sums = floats(partials);
  parallel_for(stride / kLanes, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = 1; p < count; ++p)
      for (int64_t i = begin * kLanes; i < end * kLanes; i += kVecWidth)
        store(sums + i, load(sums + i) + load(sums + p * stride + i));
  });
  transform_all_sums(plan, sums, floats(dweight), write);
}

size_t winograd_weight_grad_bytes(const Conv2dShape& shape, int64_t max_batch) {
  const Plan plan(shape, max_batch);
  int64_t floats = plan.floats();
  // A smaller batch may be computed at once and then needs more points than a chunk has.
  const int64_t blocks =
      kWholeBytes /
      (plan.tile_bytes() * WinogradTiles(shape.in, shape.out, shape.padding, 1).count());
  if (const int64_t images = blocks * kLanes; images > 0 && images < max_batch)
    floats = std::max(floats, Plan(shape, images).floats());
  return static_cast<size_t>(floats) * sizeof(float);
}

void winograd_weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape) {
  const Plan plan(shape, args.launch.batch);
  auto* const x_points = static_cast<float*>(args.workspace);
  auto* const dy_points = x_points + kPoints * plan.x_stride;
  const Pass pass = {.shape = shape,
                     .plan = plan,
                     .x = floats(args.x),
                     .dy = floats(args.dy),
                     .x_points = x_points,
                     .dy_points = dy_points,
                     .sums = dy_points + kPoints * plan.dy_stride};
  if (plan.at_once) {
    transform_tiles(pass, 0, plan.tiles.count());
    write_at_once(pass, floats(args.dweight), args.write);
  } else {
    for (int64_t first = 0; first < plan.tiles.count(); first += plan.chunk_tiles) {
      const int64_t last = std::min(plan.tiles.count(), first + plan.chunk_tiles);
      transform_tiles(pass, first, last);
      multiply_points(pass, last - first, first > 0);
    }
    transform_all_sums(plan, pass.sums, floats(args.dweight), args.write);
  }
  if (args.dbias != nullptr) conv2d_bias_grad(args, shape.out);
}

}  // namespace SCULPT_ISA_NAMESPACE
