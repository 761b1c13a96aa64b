// Backward batch norm. With g = dy where ReLU let z pass (all of dy without ReLU), M values per
// channel and xhat = (x - mean) * inv_std:
//
//   dbeta = sum g;   dgamma = sum g * xhat;   dresidual = g
//   training:  dx = gamma * inv_std * (g - dbeta / M - xhat * dgamma / M)
//   eval:      dx = gamma * inv_std * g
//
// Two passes over the planes compute this. The first pass sums g and g * (x - mean), from which
// dgamma and dbeta follow. The second pass writes dx and dresidual. Each of the two passes is one
// function on some rows of one plane (sum_gradients, write_gradients), compiled for each source of
// the ReLU's gate. Gradients collects what both passes need to know about a call; the kernels at
// the end of the file differ in the rows that they visit and in the order in which they do.

#include "kernels/cpu/batch_norm/plane.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Some rows of a plane, as both passes visit them.
struct PlaneRows {
  int64_t offset = 0;  ///< floats from the data pointer of an activation to the first row
  PlaneRuns runs;
  int64_t used = 0;  ///< lanes that hold images; the others are padding
};

/// The array from which the gate of the ReLU is recomputed.
enum class Gate { none, from_x, from_y };

/// Returns the vector of dy at offset i where ReLU let z pass, and 0 elsewhere. x is the vector of
/// the input at i. y is read for Gate::from_y only.
template <Gate kGate>
Vec gated(const float* dy, const float* y, int64_t i, Vec x, const ChannelMap& map) {
  const Vec g = load(dy + i);
  if constexpr (kGate == Gate::from_x) return map(x) > zero_vec() ? g : zero_vec();
  if constexpr (kGate == Gate::from_y) return load(y + i) > zero_vec() ? g : zero_vec();
  return g;
}

/// The first pass: returns the sums of g and of g * (x - mean) over some rows. With kCopy, also
/// copies these rows of dy to dy_copy, with stores that bypass the cache.
template <Gate kGate, bool kCopy>
PlaneSums sum_gradients(const BatchNormBackward& args, float* dy_copy, const PlaneRows& rows,
                        const ChannelMap& map) {
  const float* dy = floats(args.dy) + rows.offset;
  const float* y = kGate == Gate::from_y ? floats(args.y) + rows.offset : nullptr;
  const float* in = floats(args.x) + rows.offset;
  float* copy = kCopy ? dy_copy + rows.offset : nullptr;
  const PlaneRuns runs = rows.runs;
  return sum_rows(runs, rows.used, [=](int64_t i, Vec& sum_g, Vec& sum_gx) {
    const Vec x = load(in + i);
    const Vec g = gated<kGate>(dy, y, i, x, map);
    prefetch(in + i + runs.ahead);
    if constexpr (kCopy) stream(copy + i, load(dy + i));
    sum_g += g;
    sum_gx += g * (x - broadcast(map.mean));
  });
}

/// The terms of a channel in dx = scale * (g - mean_g - (x - mean) * slope).
struct DxTerms {
  float mean_g = 0;
  float slope = 0;
};

/// The second pass: writes dx and dresidual for some rows. In dx, the first `used` lanes get
/// gradients and the padded lanes exactly 0.
template <Gate kGate>
void write_gradients(const BatchNormBackward& args, bool stream_dresidual, const PlaneRows& rows,
                     const ChannelMap& channel_map, const DxTerms& channel_terms) {
  // Stores go through memcpy, so the compiler must assume that a store changes the objects behind
  // the references. Local copies avoid this.
  const float *const dy = floats(args.dy), *const in = floats(args.x), *const y = floats(args.y);
  float *const to_dx = floats(args.dx), *const to_dresidual = floats(args.dresidual);
  const GradWrite write_dx = args.write_dx, write_dresidual = args.write_dresidual;
  const PlaneRuns runs = rows.runs;
  const ChannelMap map = channel_map;
  const DxTerms terms = channel_terms;
  VecInt keep[kVecsPerCell];
  for (int64_t lane = 0; lane < kLanes; ++lane)
    keep[lane / kVecWidth][lane % kVecWidth] = lane < rows.used ? -1 : 0;
  for (int64_t run = 0; run < runs.count; ++run) {
    const int64_t begin = rows.offset + run * runs.stride;
    for (int64_t cell = begin; cell < begin + runs.length; cell += kLanes) {
      for (int v = 0; v < kVecsPerCell; ++v) {
        const int64_t i = cell + v * kVecWidth;
        const Vec x = load(in + i);
        const Vec g = gated<kGate>(dy, y, i, x, map);
        prefetch(in + i + runs.ahead);
        prefetch(dy + i + runs.ahead);
        if (to_dx != nullptr) prefetch_to_write(to_dx + i + runs.ahead);
        if constexpr (kGate == Gate::from_y) prefetch(y + i + runs.ahead);
        const Vec centred = x - broadcast(map.mean);
        const Vec dx =
            broadcast(map.scale) * (g - broadcast(terms.mean_g) - centred * broadcast(terms.slope));
        if (stream_dresidual)
          stream(to_dresidual + i, g);
        else if (to_dresidual != nullptr)
          write_grad(to_dresidual + i, g, write_dresidual);
        if (to_dx != nullptr) write_grad(to_dx + i, keep[v] ? dx : zero_vec(), write_dx);
      }
    }
  }
}

/// The two passes for one source of the gate.
struct Passes {
  decltype(&sum_gradients<Gate::none, false>) sum;
  decltype(&sum_gradients<Gate::none, true>) sum_and_copy;
  decltype(&write_gradients<Gate::none>) write;
};

template <Gate kGate>
constexpr Passes kPassesWith = {sum_gradients<kGate, false>, sum_gradients<kGate, true>,
                                write_gradients<kGate>};

const Passes& passes_for(const BatchNormBackward& args) {
  if (!args.options.relu) return kPassesWith<Gate::none>;
  return args.y != nullptr ? kPassesWith<Gate::from_y> : kPassesWith<Gate::from_x>;
}

/// The statistics that the forward pass used: those of the batch, which depend on x, or the running
/// ones, which are constants.
enum class Statistics { of_batch, running };

/// One call's gradients.
class Gradients {
 public:
  Gradients(const BatchNormBackward& args, Statistics statistics)
      : args_(args), passes_(passes_for(args)), statistics_(statistics) {}

  /// The first pass. dy_copy may be null.
  PlaneSums sum(int64_t channel, const PlaneRows& rows, float* dy_copy = nullptr) const {
    const auto pass = dy_copy == nullptr ? passes_.sum : passes_.sum_and_copy;
    return pass(args_, dy_copy, rows, map_of(channel));
  }

  /// Writes dgamma and dbeta of a channel from its sums over the whole batch.
  void finish(int64_t channel, const PlaneSums& total) const {
    floats(args_.dbeta)[channel] = static_cast<float>(total.first);
    floats(args_.dgamma)[channel] = static_cast<float>(total.second * inv_std(channel));
  }

  /// The second pass, which reads dgamma and dbeta. `batch` is the number of images in the whole
  /// batch.
  void write(int64_t channel, const PlaneRows& rows, int64_t batch,
             bool stream_dresidual = false) const {
    if (args_.dx == nullptr && args_.dresidual == nullptr) return;
    DxTerms terms;
    if (statistics_ == Statistics::of_batch) {
      const auto m = static_cast<float>(batch * args_.shape.height * args_.shape.width);
      terms = {floats(args_.dbeta)[channel] / m,
               floats(args_.dgamma)[channel] * inv_std(channel) / m};
    }
    passes_.write(args_, stream_dresidual, rows, map_of(channel), terms);
  }

 private:
  float inv_std(int64_t channel) const {
    return statistics_ == Statistics::of_batch
               ? floats(args_.saved_inv_std)[channel]
               : running_inv_std(floats(args_.running_var)[channel], args_.options.eps);
  }
  ChannelMap map_of(int64_t channel) const {
    const void* mean = statistics_ == Statistics::of_batch ? args_.saved_mean : args_.running_mean;
    return {floats(mean)[channel], floats(args_.gamma)[channel] * inv_std(channel),
            floats(args_.beta)[channel]};
  }

  const BatchNormBackward& args_;
  const Passes& passes_;
  Statistics statistics_;
};

/// Writes dgamma and dbeta of a shared batch.
void finish_shared(const BatchNormBackward& args, const Gradients& gradients,
                   const SumChunks& chunks) {
  const int64_t channels = args.shape.channels;
  double* const sums = chunks.compact([&](int64_t channel) { return chunks.total(channel); });
  args.shared->add_up(args.shared->context, sums, 2 * channels, args.launch.stream);
  for (int64_t channel = 0; channel < channels; ++channel)
    gradients.finish(channel, {sums[2 * channel], sums[2 * channel + 1]});
}

/// backward_train and backward_eval.
void backward(const BatchNormBackward& args, Statistics statistics) {
  const ActivationShape& shape = args.shape;
  const int64_t batch = args.launch.batch;
  const int64_t blocks = blocks_of(batch);
  const SumChunks chunks(static_cast<PlaneSums*>(args.workspace), shape, blocks);
  const Gradients gradients(args, statistics);
  const auto plane_rows = [&](int64_t channel, int64_t block, const RowRange& rows) {
    return PlaneRows{row_offset(shape, channel, block, rows.begin), row_runs(shape, rows.count()),
                     used_lanes(batch, block)};
  };
  const auto reduce = [&](int64_t channel, int64_t block) {
    chunks.fill(channel, block, all_rows(shape), [&](const RowRange& band) {
      return gradients.sum(channel, plane_rows(channel, block, band));
    });
  };
  const auto finish = [&](int64_t channel) { gradients.finish(channel, chunks.total(channel)); };
  const auto apply = [&](int64_t channel, int64_t block) {
    gradients.write(channel, plane_rows(channel, block, all_rows(shape)), args.images());
  };
  const bool only_activations = statistics == Statistics::running && args.dgamma == nullptr;
  if (only_activations) {
    for_each_plane(shape, batch,
                   [&](int64_t plane) { apply(plane % shape.channels, plane / shape.channels); });
    return;
  }
  if (args.shared != nullptr && statistics == Statistics::of_batch) {
    for_each_plane(shape, batch,
                   [&](int64_t plane) { reduce(plane % shape.channels, plane / shape.channels); });
    finish_shared(args, gradients, chunks);
    for_each_plane(shape, batch,
                   [&](int64_t plane) { apply(plane % shape.channels, plane / shape.channels); });
    return;
  }
  two_passes(shape.channels, blocks, reduce, finish, apply);
}

/// Rows of channel `channel` of the block that the arguments of a kernel on blocks point at.
PlaneRows rows_of_block(const BatchNormBackward& args, int64_t channel, const RowRange& rows) {
  return {row_offset(args.shape, channel, 0, rows.begin), band_runs(args.shape, rows.count()),
          args.launch.batch};
}

}  // namespace

void batch_norm_backward_train(const BatchNormBackward& args) {
  backward(args, Statistics::of_batch);
}

void batch_norm_backward_eval(const BatchNormBackward& args) {
  backward(args, Statistics::running);
}

void batch_norm_sum_grad(const BatchNormBackward& args, const ChannelSums& sums, int64_t block,
                         const RowRange& rows, void* dy_copy) {
  const Gradients gradients(args, Statistics::of_batch);
  const SumChunks chunks = chunks_of(sums, args.shape);
  for (int64_t channel = 0; channel < args.shape.channels; ++channel)
    chunks.fill(channel, block, rows, [&](const RowRange& band) {
      return gradients.sum(channel, rows_of_block(args, channel, band), floats(dy_copy));
    });
  if (dy_copy != nullptr) stream_end();
}

void batch_norm_finish_grad(const BatchNormBackward& args, const ChannelSums& sums) {
  const Gradients gradients(args, Statistics::of_batch);
  const SumChunks chunks = chunks_of(sums, args.shape);
  if (args.shared != nullptr) return finish_shared(args, gradients, chunks);
  for (int64_t channel = 0; channel < args.shape.channels; ++channel)
    gradients.finish(channel, chunks.total(channel));
}

void batch_norm_apply_grad(const BatchNormBackward& args, int64_t batch, const RowRange& rows,
                           bool stream_dresidual) {
  const bool streams = stream_dresidual && args.dresidual != nullptr;
  SCULPT_CHECK(!streams || args.write_dresidual == GradWrite::overwrite,
               "a gradient that is added to cannot go around the cache");
  const Gradients gradients(args, Statistics::of_batch);
  for (int64_t channel = 0; channel < args.shape.channels; ++channel)
    gradients.write(channel, rows_of_block(args, channel, rows), batch, streams);
  if (streams) stream_end();
}

}  // namespace SCULPT_ISA_NAMESPACE
