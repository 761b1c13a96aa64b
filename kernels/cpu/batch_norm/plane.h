#pragma once
// Shared parts of the passes of CPU batch norm: sums over a plane, the channel's affine map, and
// the order in which channels and blocks are visited.

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/common/check.h"
#include "kernels/cpu/plane.h"

namespace SCULPT_ISA_NAMESPACE {

/// z = (x - mean) * scale + beta, with scale = gamma * inv_std.
struct ChannelMap {
  float mean = 0;
  float scale = 0;
  float beta = 0;

  /// This is the only function that computes z. The backward pass calls it again to find out where
  /// ReLU cut, and must get the same bits.
  Vec operator()(Vec x) const { return (x - broadcast(mean)) * broadcast(scale) + broadcast(beta); }
};

inline float running_inv_std(float var, float eps) {
  return 1.0f / std::sqrt(var + eps);
}

/// Two sums over the values of one chunk: a band of rows (band_rows()) of one channel in one block.
struct PlaneSums {
  double first = 0;
  double second = 0;
};

/// Sums two quantities over the first `used` lanes of some rows. add(i, a, b) adds the two
/// quantities of the vector at offset i to a and b. Sums are floats within a short stretch of cells
/// and doubles across stretches.
template <class Add>
inline PlaneSums sum_rows(const PlaneRuns& runs, int64_t used, const Add& add) {
  constexpr int kChains = 4;  // hides the latency of additions; a multiple of kVecsPerCell
  constexpr int64_t kStretch = 64 * kLanes;
  double lane_a[kLanes] = {};
  double lane_b[kLanes] = {};
  Vec a[kChains] = {};
  Vec b[kChains] = {};
  auto flush = [&] {
    for (int v = 0; v < kVecsPerCell; ++v) {
      Vec sum_a = a[v];
      Vec sum_b = b[v];
      for (int c = v + kVecsPerCell; c < kChains; c += kVecsPerCell) {
        sum_a += a[c];
        sum_b += b[c];
      }
      for (int j = 0; j < kVecWidth; ++j) {
        lane_a[v * kVecWidth + j] += static_cast<double>(sum_a[j]);
        lane_b[v * kVecWidth + j] += static_cast<double>(sum_b[j]);
      }
    }
    for (int c = 0; c < kChains; ++c)
      a[c] = b[c] = Vec{};
  };
  int64_t pending = 0;
  for (int64_t run = 0; run < runs.count; ++run) {
    const int64_t run_end = run * runs.stride + runs.length;
    for (int64_t i = run * runs.stride; i < run_end;) {
      const int64_t end = run_end - i > kStretch ? i + kStretch : run_end;
      pending += end - i;
      for (; i + kChains * kVecWidth <= end; i += kChains * kVecWidth)
        for (int c = 0; c < kChains; ++c)
          add(i + c * kVecWidth, a[c], b[c]);
      for (; i < end; i += kLanes)
        for (int c = 0; c < kVecsPerCell; ++c)
          add(i + c * kVecWidth, a[c], b[c]);
      if (pending >= kStretch) {
        flush();
        pending = 0;
      }
    }
  }
  flush();
  for (int64_t lane = used; lane < kLanes; ++lane)
    lane_a[lane] = lane_b[lane] = 0;
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) {
      lane_a[lane] += lane_a[lane + half];
      lane_b[lane] += lane_b[lane + half];
    }
  return {lane_a[0], lane_b[0]};
}

/// The partial sums of a batch, in chunks: the sums of band `band` of block `b` of channel `c` are
/// at index (c * blocks + b) * bands + band. `sums` and `shape` must outlive the object.
class SumChunks {
 public:
  SumChunks(PlaneSums* sums, const ActivationShape& shape, int64_t blocks)
      : sums_(sums), shape_(shape), blocks_(blocks), bands_(bands_of(shape)) {}

  const ActivationShape& shape() const { return shape_; }
  int64_t per_channel() const { return blocks_ * bands_; }

  /// Sets the sums of (channel, block) to sum(rows) for each band of `rows`, which consists of
  /// whole bands.
  template <class Sum>
  void fill(int64_t channel, int64_t block, const RowRange& rows, const Sum& sum) const {
    PlaneSums* const of_plane = sums_ + (channel * blocks_ + block) * bands_;
    for (int64_t first = rows.begin; first < rows.end; first += band_rows(shape_)) {
      const int64_t end = std::min(first + band_rows(shape_), rows.end);
      of_plane[first / band_rows(shape_)] = sum(RowRange{first, end});
    }
  }

  /// Calls visit(sums, block, rows) for the channel's chunks in order, where `rows` is the number
  /// of rows in the chunk.
  template <class Visit>
  void visit(int64_t channel, const Visit& visit) const {
    const PlaneSums* sums = sums_ + channel * per_channel();
    for (int64_t block = 0; block < blocks_; ++block)
      for (int64_t band = 0; band < bands_; ++band)
        visit(*sums++, block,
              std::min(band_rows(shape_), shape_.height - band * band_rows(shape_)));
  }

  /// Replaces the sums by one pair per channel, part(channel) for each channel in order. part()
  /// may read the chunks of its channel.
  template <class Part>
  double* compact(const Part& part) const {
    for (int64_t channel = 0; channel < shape_.channels; ++channel)
      sums_[channel] = part(channel);
    return &sums_->first;
  }

  PlaneSums total(int64_t channel) const {
    PlaneSums total;
    visit(channel, [&](const PlaneSums& chunk, int64_t /*block*/, int64_t /*rows*/) {
      total.first += chunk.first;
      total.second += chunk.second;
    });
    return total;
  }

 private:
  PlaneSums* sums_;
  const ActivationShape& shape_;
  int64_t blocks_, bands_;
};

/// For every channel, runs reduce(channel, block) for all blocks, then finish(channel), then
/// apply(channel, block) for all blocks. Where channels spread evenly over the threads, one thread
/// does all the work of a channel in a row, so that `apply` finds in cache what `reduce` read.
/// Otherwise, planes are spread over the threads. Both ways give the same bits.
template <class Reduce, class Finish, class Apply>
inline void two_passes(int64_t channels, int64_t blocks, const Reduce& reduce, const Finish& finish,
                       const Apply& apply) {
  const int64_t threads = thread_count();
  if (channels % threads == 0 || channels >= 8 * threads) {
    parallel_for(channels, [&](int64_t begin, int64_t end, int) {
      for (int64_t channel = begin; channel < end; ++channel) {
        for (int64_t block = 0; block < blocks; ++block)
          reduce(channel, block);
        finish(channel);
        // The last block is visited first, because it is the most likely to be still in cache.
        for (int64_t block = blocks - 1; block >= 0; --block)
          apply(channel, block);
      }
    });
    return;
  }
  parallel_for(channels * blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      reduce(i / blocks, i % blocks);
  });
  parallel_for(channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t channel = begin; channel < end; ++channel)
      finish(channel);
  });
  parallel_for(channels * blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      apply(i / blocks, i % blocks);
  });
}

/// Floats from the data pointer to a row of plane (block, channel).
inline int64_t row_offset(const ActivationShape& s, int64_t channel, int64_t block, int64_t row) {
  return ((block * s.channels + channel) * s.plane_stride() + row * s.row_stride()) * kLanes;
}

/// Returns the partial sums in the form in which batch norm on blocks stores them.
inline SumChunks chunks_of(const ChannelSums& sums, const ActivationShape& shape) {
  static_assert(sizeof(PlaneSums) == 2 * sizeof(double));
  SCULPT_CHECK(sums.chunks % bands_of(shape) == 0, "{} chunks of sums for {} bands", sums.chunks,
               bands_of(shape));
  return {reinterpret_cast<PlaneSums*>(sums.partials), shape, sums.chunks / bands_of(shape)};
}

// The backward functions of BatchNormKernels and BatchNormBlockKernels, which
// kernels/cpu/batch_norm/backward.cpp defines.
void batch_norm_backward_train(const BatchNormBackward& args);
void batch_norm_backward_eval(const BatchNormBackward& args);
void batch_norm_sum_grad(const BatchNormBackward& args, const ChannelSums& sums, int64_t block,
                         const RowRange& rows, void* dy_copy);
void batch_norm_finish_grad(const BatchNormBackward& args, const ChannelSums& sums);
void batch_norm_apply_grad(const BatchNormBackward& args, int64_t batch, const RowRange& rows,
                           bool stream_dresidual);

}  // namespace SCULPT_ISA_NAMESPACE
