// Forward pass and input gradient. The weights are transformed once. Then a thread takes a few
// tiles at a time through all stages, so that their points stay in its L2 cache: it transforms the
// input tiles of all channels, computes a matrix product per point (weights are streamed in the
// order in which they are stored), and transforms the sums into cells of the output.
//
// Layers with many channels and few tiles exchange the roles of weights and tiles: the transformed
// weights exceed the last-level cache, and the points of all tiles fit it. All tiles are then
// transformed once, and a thread takes a few output channels at a time through all stages, so that
// their transformed weights stay in its L2 cache.

#include "kernels/winograd.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/common/parallel.h"
#include "kernels/cpu/tables.h"
#include "kernels/cpu/winograd/passes.h"
#include "kernels/cpu/winograd/tiles.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

// The register block has kOuts x kVecs sums, a broadcast weight and kVecs registers of points. It
// fills the 32 registers of AVX-512, or the 16 of the other instruction sets.
constexpr int kOuts = kVecWidth == 16 ? 8 : 6;
constexpr int kVecs = kVecWidth == 16 ? 3 : 2;
// The number of tiles that a thread takes at a time. Their points are read from L2. With fewer
// tiles, weights are read more often.
constexpr int kChunkTiles = kVecWidth == 16 ? 3 : 4;
constexpr int64_t kChunkFloats = kChunkTiles * kLanes;
// Transformed weights of more bytes are never kept as a whole, if the points of all tiles have at
// most kMostPointBytes.
constexpr int64_t kKeptWeightBytes = 16 << 20;
constexpr int64_t kMostPointBytes = 12 << 20;
// An output of more bytes leaves the caches before the next kernel reads it.
constexpr int64_t kCachedBytes = 6 << 20;

/// y (=, +=) bias + convolution of x. The weight of output o and input c is at o * weight_out + c *
/// weight_in. If `flip` is set, the weight is turned by 180 degrees.
struct Conv {
  ActivationShape x_shape, y_shape;
  int64_t padding = 0;
  int64_t weight_out = 0, weight_in = 0;
  bool flip = false;
  int64_t blocks = 0;

  const float* x = nullptr;
  const float* weight = nullptr;
  const float* bias = nullptr;  ///< may be null
  float* y = nullptr;
  bool accumulate = false;
};

Conv forward_conv(const Conv2dShape& s, int64_t batch) {
  return {.x_shape = s.in,
          .y_shape = s.out,
          .padding = s.padding,
          .weight_out = s.in.channels * 9,
          .weight_in = 9,
          .blocks = ceil_div(batch, kLanes)};
}

Conv input_grad_conv(const Conv2dShape& s, int64_t batch) {
  return {.x_shape = s.out,
          .y_shape = s.in,
          .padding = 2 - s.padding,
          .weight_out = 9,
          .weight_in = s.in.channels * 9,
          .flip = true,
          .blocks = ceil_div(batch, kLanes)};
}

/// Returns the distance in floats between neighbouring points with `count` floats each. It has some
/// cells more than needed, because with powers of two all points would fall into the same sets of
/// the caches.
int64_t point_stride(int64_t count) {
  return ceil_div(count, kLanes) * kLanes + 5 * kLanes;
}

/// The sizes of the scratch arrays, and the partition of the work among threads. Only out_splits
/// and split_outs depend on the number of threads, and no sum depends on these two.
struct Plan {
  /// of_block: the plan of a pass over some rows of one block, on one thread.
  explicit Plan(const Conv& conv, bool of_block = false)
      : tiles(conv.x_shape, conv.y_shape, conv.padding, conv.blocks),
        ins(conv.x_shape.channels),
        outs(conv.y_shape.channels),
        chunks(ceil_div(tiles.count(), kChunkTiles)) {
    const int64_t out_blocks = ceil_div(outs, kOuts);
    streams = y_bytes(conv) > kCachedBytes;
    v_stride = point_stride(ins * kChunkFloats);
    by_outs = !of_block && kPoints * outs * ins * int64_t{sizeof(float)} > kKeptWeightBytes &&
              chunks * kPoints * v_stride * int64_t{sizeof(float)} <= kMostPointBytes;
    // If there are few chunks, threads also share out the output channels of a chunk.
    const int64_t threads = of_block ? 1 : thread_count();
    const int64_t wanted = threads > 1 ? ceil_div(4 * threads, std::max<int64_t>(1, chunks)) : 1;
    split_outs = by_outs ? kOuts : ceil_div(out_blocks, std::min(out_blocks, wanted)) * kOuts;
    out_splits = ceil_div(outs, split_outs);
    u_stride = point_stride((by_outs ? 1 : out_blocks) * kOuts * ins);
    m_stride = point_stride(split_outs * kChunkFloats);
  }

  static int64_t y_bytes(const Conv& conv) {
    return conv.blocks * conv.y_shape.block_stride() * kLanes * int64_t{sizeof(float)};
  }

  int64_t u_floats() const { return kPoints * u_stride; }
  int64_t v_floats() const { return kPoints * v_stride; }
  int64_t thread_floats() const { return kPoints * (v_stride + m_stride); }
  /// The same where a thread takes output channels through all stages.
  int64_t outs_thread_floats() const { return kPoints * (u_stride + m_stride); }

  WinogradTiles tiles;
  int64_t ins, outs, chunks;
  int64_t out_splits = 1, split_outs = 0;
  bool by_outs = false;  ///< a thread takes output channels, not tiles, through all stages
  bool streams = false;  ///< y is larger than what caches keep, and is stored past the caches
  /// Transformed weights: [point][out / kOuts][in][kOuts]; with by_outs, of kOuts outputs.
  int64_t u_stride = 0;
  int64_t v_stride = 0;  ///< transformed inputs: [point][in][kChunkTiles][kLanes]
  int64_t m_stride = 0;  ///< sums: [point][out of the split][kChunkTiles][kLanes]
};

Plan block_plan(const Conv& conv) {
  return Plan(conv, /*of_block=*/true);
}

/// One number for each output channel of a register block, followed by two zeros.
using OutVec = float __attribute__((vector_size(32)));

/// Computes the points of the weights of kOuts output channels, and writes them `stride` floats
/// apart.
void transform_weights_of(const OutVec (&w)[9], float* u, int64_t stride) {
  OutVec by_column[kTileIn][3];
  for (int s = 0; s < 3; ++s) {
    const OutVec column[3] = {w[s], w[3 + s], w[6 + s]};
    OutVec values[kTileIn];
    transform_weight(column, values);
    for (int i = 0; i < kTileIn; ++i)
      by_column[i][s] = values[i];
  }
  for (int i = 0; i < kTileIn; ++i) {
    OutVec values[kTileIn];
    transform_weight(by_column[i], values);
    for (int j = 0; j < kTileIn; ++j)
      std::memcpy(u + (i * kTileIn + j) * stride, &values[j], kOuts * sizeof(float));
  }
}

/// Transforms the weights of one input channel and of register block `block` of output channels.
void transform_block(const Conv& conv, const Plan& plan, int64_t block, int64_t in, float* u) {
  const int64_t out = block * kOuts;
  const float* weight = conv.weight + out * conv.weight_out + in * conv.weight_in;
  OutVec w[9] = {};
  for (int o = 0; o < kOuts && out + o < plan.outs; ++o)
    for (int k = 0; k < 9; ++k)
      w[k][o] = weight[o * conv.weight_out + (conv.flip ? 8 - k : k)];
  transform_weights_of(w, u, plan.u_stride);
}

/// Transforms the weights in the order in which they lie in memory: in the input gradient, output
/// channels are neighbours.
void transform_weights(const Conv& conv, const Plan& plan, float* u) {
  const int64_t out_blocks = ceil_div(plan.outs, kOuts);
  const bool outs_inside = conv.weight_out < conv.weight_in;
  parallel_for(out_blocks * plan.ins, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = outs_inside ? item % out_blocks : item / plan.ins;
      const int64_t in = outs_inside ? item / out_blocks : item % plan.ins;
      transform_block(conv, plan, block, in, u + (block * plan.ins + in) * kOuts);
    }
  });
}

/// v := points of the tiles [begin, end) of the input channels [first, last). The planes of the
/// channels lie far apart, which the processor's own prefetching does not foresee.
void transform_inputs(const Conv& conv, const Plan& plan, int64_t begin, int64_t end, int64_t first,
                      int64_t last, float* v) {
  const int64_t row = conv.x_shape.row_stride() * kLanes;
  const int64_t plane = conv.x_shape.plane_stride() * kLanes;
  TileCells cells[kChunkTiles];
  for (int64_t tile = begin; tile < end; ++tile)
    cells[tile - begin] = plan.tiles.in(tile);
  const float* x = conv.x + first * plane;
  for (int64_t c = first; c < last; ++c) {
    for (int64_t t = 0; t < end - begin; ++t) {
      if (c + 1 < last) prefetch_tile(x + plane, cells[t], row, t > 0 ? kTileIn - kTile : 0);
      transform_cells<kTileIn>(
          x, cells[t], row, v + c * kChunkFloats + t * kLanes, plan.v_stride,
          [](const Vec(&in)[kTileIn], Vec(&out)[kTileIn])
              __attribute__((always_inline)) { transform_input(in, out); });
    }
    x += plane;
  }
}

/// Computes the sums of kOuts output channels in Count registers: m[o] = sum over c of u[c][o] *
/// v[c].
template <int Count>
void multiply(const float* u, const float* v, int64_t ins, float* m) {
  Vec sum[kOuts][Count] = {};
  for (int64_t c = 0; c < ins; ++c) {
    Vec cells[Count];
    for (int i = 0; i < Count; ++i)
      cells[i] = load(v + i * kVecWidth);
    for (int o = 0; o < kOuts; ++o) {
      const Vec weight = broadcast(u[o]);
      for (int i = 0; i < Count; ++i)
        sum[o][i] += weight * cells[i];
    }
    u += kOuts;
    v += kChunkFloats;
  }
  for (int o = 0; o < kOuts; ++o)
    for (int i = 0; i < Count; ++i)
      store(m + o * kChunkFloats + i * kVecWidth, sum[o][i]);
}

using MultiplyFunction = void (*)(const float*, const float*, int64_t, float*);

template <size_t... Counts>
constexpr std::array<MultiplyFunction, sizeof...(Counts)> multiply_functions(
    std::index_sequence<Counts...>) {
  return {multiply<static_cast<int>(Counts) + 1>...};
}

/// m := sums over the input channels at every point, for `outs` output channels starting at `out`.
void multiply_points(const Plan& plan, const float* u, const float* v, int64_t out, int64_t outs,
                     int64_t tiles, float* m) {
  static constexpr auto kMultiply = multiply_functions(std::make_index_sequence<kVecs>{});
  const int64_t vecs = tiles * kVecsPerCell;
  for (int64_t point = 0; point < kPoints; ++point)
    for (int64_t o = 0; o < outs; o += kOuts)
      for (int64_t i = 0; i < vecs; i += kVecs)
        kMultiply[static_cast<size_t>(std::min<int64_t>(kVecs, vecs - i) - 1)](
            u + point * plan.u_stride + (out + o) * plan.ins,
            v + point * plan.v_stride + i * kVecWidth, plan.ins,
            m + point * plan.m_stride + o * kChunkFloats + i * kVecWidth);
}

/// Computes the cells of one tile from its sums.
[[gnu::always_inline]] inline void transform_sums(const float* m, int64_t stride,
                                                  Vec (&y)[kTile][kTile]) {
  Vec by_column[kTile][kTileIn];
  for (int j = 0; j < kTileIn; ++j) {
    Vec column[kTileIn], values[kTile];
    for (int i = 0; i < kTileIn; ++i)
      column[i] = load(m + (i * kTileIn + j) * stride);
    transform_output(column, values);
    for (int i = 0; i < kTile; ++i)
      by_column[i][j] = values[i];
  }
  for (int i = 0; i < kTile; ++i)
    transform_output(by_column[i], y[i]);
}

/// Writes the cells of tiles [begin, end) for `outs` output channels starting at `out`.
void transform_outputs(const Conv& conv, const Plan& plan, const float* m, int64_t out,
                       int64_t outs, int64_t begin, int64_t end) {
  const int64_t row = conv.y_shape.row_stride() * kLanes;
  for (int64_t tile = begin; tile < end; ++tile) {
    const TileCells cells = plan.tiles.out(tile);
    for (int64_t o = 0; o < outs; ++o) {
      float* first = conv.y + (out + o) * conv.y_shape.plane_stride() * kLanes + cells.first;
      const float bias = conv.bias ? conv.bias[out + o] : 0.0f;
      for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
        Vec y[kTile][kTile];
        transform_sums(m + o * kChunkFloats + (tile - begin) * kLanes + lane, plan.m_stride, y);
        for (int i = 0; i < kTile && i < cells.rows; ++i)
          for (int j = 0; j < kTile && j < cells.columns; ++j) {
            float* cell = first + i * row + j * kLanes + lane;
            if (conv.accumulate)
              store(cell, load(cell) + y[i][j]);
            else if (plan.streams)
              stream(cell, broadcast(bias) + y[i][j]);
            else
              store(cell, broadcast(bias) + y[i][j]);
          }
      }
    }
  }
}

/// Takes the tiles [first, last), at most kChunkTiles of them, through all stages for `outs` output
/// channels starting at `out`. v and m are the thread's scratch arrays. If `transformed` is true, v
/// holds the points of these tiles already.
void run_chunk(const Conv& conv, const Plan& plan, const float* u, int64_t first, int64_t last,
               int64_t out, int64_t outs, bool transformed, float* v) {
  float* const m = v + kPoints * plan.v_stride;
  if (!transformed) transform_inputs(conv, plan, first, last, 0, plan.ins, v);
  multiply_points(plan, u, v, out, outs, last - first, m);
  transform_outputs(conv, plan, m, out, outs, first, last);
}

/// Computes register block `block` of output channels for all tiles. v holds the points of all
/// tiles, `chunk_tiles` of them a chunk; u is the thread's scratch array.
void run_outs(const Conv& conv, const Plan& plan, int64_t block, const float* v,
              int64_t chunk_tiles, float* u) {
  // The weights of an input channel lie far from those of the next one in the input gradient.
  constexpr int64_t kAhead = 8;  // input channels
  constexpr int64_t kLine = 16;  // floats
  const bool outs_inside = conv.weight_out < conv.weight_in;
  for (int64_t in = 0; in < plan.ins; ++in) {
    if (outs_inside && in + kAhead < plan.ins)
      for (int64_t i = 0; i < kOuts * 9 + kLine; i += kLine)
        prefetch(conv.weight + block * kOuts * conv.weight_out + (in + kAhead) * conv.weight_in +
                 std::min<int64_t>(i, kOuts * 9 - 1));
    transform_block(conv, plan, block, in, u + in * kOuts);
  }
  float* const m = u + plan.u_floats();
  const int64_t out = block * kOuts;
  for (int64_t first = 0; first < plan.tiles.count(); first += chunk_tiles) {
    const int64_t last = std::min(plan.tiles.count(), first + chunk_tiles);
    multiply_points(plan, u, v, 0, kOuts, last - first, m);
    transform_outputs(conv, plan, m, out, std::min<int64_t>(kOuts, plan.outs - out), first, last);
    v += plan.v_floats();
  }
}

void run_by_outs(const Conv& conv, const Plan& plan, float* v) {
  // Chunks of equal size, because small ones take longer per tile.
  const int64_t chunk_tiles = ceil_div(plan.tiles.count(), plan.chunks);
  parallel_for(plan.ins, [&](int64_t begin, int64_t end, int) {
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
      const int64_t first = chunk * chunk_tiles;
      transform_inputs(conv, plan, first, std::min(plan.tiles.count(), first + chunk_tiles), begin,
                       end, v + chunk * plan.v_floats());
    }
  });
  float* const scratch = v + plan.chunks * plan.v_floats();
  parallel_for(plan.out_splits, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t block = begin; block < end; ++block)
      run_outs(conv, plan, block, v, chunk_tiles, scratch + thread * plan.outs_thread_floats());
    if (plan.streams) stream_end();
  });
}

void run(const Conv& conv, void* workspace) {
  const Plan plan(conv);
  float* u = static_cast<float*>(workspace);
  if (plan.by_outs) return run_by_outs(conv, plan, u);
  transform_weights(conv, plan, u);
  parallel_for(plan.chunks * plan.out_splits, [&](int64_t begin, int64_t end, int thread) {
    float* v = u + plan.u_floats() + thread * plan.thread_floats();
    int64_t transformed = -1;  // the chunk whose points are in v; -1: none
    for (int64_t item = begin; item < end; ++item) {
      const int64_t chunk = item / plan.out_splits;
      const int64_t first = chunk * kChunkTiles;
      const int64_t last = std::min(plan.tiles.count(), first + kChunkTiles);
      const int64_t out = item % plan.out_splits * plan.split_outs;
      const int64_t outs = std::min(plan.split_outs, plan.outs - out);
      run_chunk(conv, plan, u, first, last, out, outs, chunk == transformed, v);
      transformed = chunk;
    }
    if (plan.streams) stream_end();
  });
}

/// Computes some rows of y in one block, on the calling thread alone. conv.blocks is 1, and
/// conv.weight points at transformed weights.
void run_rows(const Conv& conv, const RowRange& rows, void* scratch) {
  const Plan plan = block_plan(conv);
  const int64_t first = rows.begin / kTile * plan.tiles.columns();
  const int64_t last = ceil_div(rows.end, kTile) * plan.tiles.columns();
  // Chunks of equal size: the weights are read once for each chunk.
  const int64_t chunks = ceil_div(last - first, kChunkTiles);
  const int64_t tiles = ceil_div(last - first, std::max<int64_t>(1, chunks));
  for (int64_t tile = first; tile < last; tile += tiles)
    run_chunk(conv, plan, conv.weight, tile, std::min(last, tile + tiles), 0, plan.outs, false,
              floats(scratch));
}

size_t workspace_of(const Conv& conv) {
  const Plan plan(conv);
  const int64_t floats =
      plan.by_outs ? plan.chunks * plan.v_floats() + thread_count() * plan.outs_thread_floats()
                   : plan.u_floats() + thread_count() * plan.thread_floats();
  return static_cast<size_t>(floats) * sizeof(float);
}

size_t workspace_bytes(const Conv2dShape& shape, int64_t max_batch) {
  return std::max({workspace_of(forward_conv(shape, max_batch)),
                   workspace_of(input_grad_conv(shape, max_batch)),
                   winograd_weight_grad_bytes(shape, max_batch)});
}

Conv conv_of(ConvPass pass, const Conv2dShape& shape, int64_t batch) {
  return pass == ConvPass::forward ? forward_conv(shape, batch) : input_grad_conv(shape, batch);
}

// The bytes of transformed weights up to which passes on blocks are faster than passes over the
// batch.
constexpr size_t kMostBlockPoints = 4 << 20;

size_t points_bytes(const Conv2dShape& shape, ConvPass pass) {
  return static_cast<size_t>(block_plan(conv_of(pass, shape, 1)).u_floats()) * sizeof(float);
}

bool fits_blocks(const Conv2dShape& shape) {
  return winograd_fits(shape) && points_bytes(shape, ConvPass::forward) <= kMostBlockPoints;
}

void transform(void* points, const void* weight, const Conv2dShape& shape, ConvPass pass) {
  Conv conv = conv_of(pass, shape, 1);
  conv.weight = floats(weight);
  transform_weights(conv, block_plan(conv), floats(points));
}

size_t block_scratch_bytes(const Conv2dShape& shape) {
  const int64_t most = std::max(block_plan(forward_conv(shape, 1)).thread_floats(),
                                block_plan(input_grad_conv(shape, 1)).thread_floats());
  return std::max(static_cast<size_t>(most) * sizeof(float), winograd_grad_scratch_bytes(shape));
}

Conv forward_conv(const ConvForward& args, const Conv2dShape& shape) {
  Conv conv = forward_conv(shape, args.launch.batch);
  conv.y = floats(args.y);
  conv.x = floats(args.x);
  conv.weight = floats(args.weight);
  conv.bias = floats(args.bias);
  return conv;
}

Conv input_grad_conv(const ConvInputGrad& args, const Conv2dShape& shape) {
  Conv conv = input_grad_conv(shape, args.launch.batch);
  conv.y = floats(args.dx);
  conv.x = floats(args.dy);
  conv.weight = floats(args.weight);
  conv.accumulate = args.write == GradWrite::accumulate;
  return conv;
}

void forward(const ConvForward& args, const Conv2dShape& shape) {
  run(forward_conv(args, shape), args.workspace);
}

void input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  run(input_grad_conv(args, shape), args.workspace);
}

void forward_block(const ConvForward& args, const Conv2dShape& shape, const RowRange& rows) {
  run_rows(forward_conv(args, shape), rows, args.workspace);
}

void input_grad_block(const ConvInputGrad& args, const Conv2dShape& shape, const RowRange& rows) {
  run_rows(input_grad_conv(args, shape), rows, args.workspace);
}

}  // namespace

WinogradKernels winograd_kernels() {
  return {.pays = winograd_pays,
          .workspace_bytes = workspace_bytes,
          .forward = forward,
          .input_grad = input_grad,
          .weight_grad = winograd_weight_grad,
          .on_blocks = {.fits = fits_blocks,
                        .points_bytes = points_bytes,
                        .transform = transform,
                        .scratch_bytes = block_scratch_bytes,
                        .forward = forward_block,
                        .input_grad = input_grad_block,
                        .partial_bytes = winograd_partial_bytes,
                        .weight_grad = winograd_weight_grad_block,
                        .sum_partials = winograd_sum_partials}};
}

}  // namespace SCULPT_ISA_NAMESPACE
