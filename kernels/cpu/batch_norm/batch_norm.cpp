// Forward batch norm and the kernel table. The kernels are bound by memory bandwidth: training
// reads x twice (the second time from cache where a channel fits) and writes y once.

#include "kernels/batch_norm.h"

#include "kernels/common/batch_norm_check.h"
#include "kernels/cpu/batch_norm/plane.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

size_t workspace_bytes(const ActivationShape& shape, int64_t max_batch) {
  const SumChunks chunks(nullptr, shape, blocks_of(max_batch));
  return static_cast<size_t>(shape.channels * chunks.per_channel()) * sizeof(PlaneSums);
}

/// The operation that sets a part of z to 0: none, the ReLU, or a gate that the caller gives.
enum class Cut { none, relu, gate };

/// Computes y for some rows, and writes them to `copy`, too, if it is not null. `gate` is read for
/// Cut::gate only.
template <Cut kCut, bool kResidual>
void normalise_rows(float* y, float* copy, const float* x, const float* residual, const float* gate,
                    const PlaneRuns& runs, const ChannelMap& map) {
  const auto normalise = [=](int64_t i) {
    Vec z = map(load(x + i));
    prefetch(x + i + runs.ahead);
    prefetch_to_write(y + i + runs.ahead);
    if constexpr (kResidual) prefetch(residual + i + runs.ahead);
    if constexpr (kResidual) z += load(residual + i);
    if constexpr (kCut == Cut::relu) z = relu(z);
    if constexpr (kCut == Cut::gate) z = load(gate + i) > zero_vec() ? z : zero_vec();
    store(y + i, z);
    return z;
  };
  if (copy == nullptr)
    for_each_vec(runs, normalise);
  else
    for_each_vec(runs, [=](int64_t i) { stream(copy + i, normalise(i)); });
}

using NormaliseRows = void (*)(float*, float*, const float*, const float*, const float*,
                               const PlaneRuns&, const ChannelMap&);

template <Cut kCut>
NormaliseRows normalise_with(bool with_residual) {
  return with_residual ? normalise_rows<kCut, true> : normalise_rows<kCut, false>;
}

NormaliseRows pick_normalise(const BatchNormForward& args) {
  const bool with_residual = args.residual != nullptr;
  if (args.gate != nullptr) return normalise_with<Cut::gate>(with_residual);
  return args.options.relu ? normalise_with<Cut::relu>(with_residual)
                           : normalise_with<Cut::none>(with_residual);
}

/// Returns, for the used lanes of a chunk, the sum and the sum of squared differences from the
/// chunk's mean. With kCopy, also copies the chunk.
template <bool kCopy>
PlaneSums sum_values(const float* first, float* copy, const PlaneRuns& runs, int64_t used,
                     int64_t pixels) {
  // The first value of the chunk is subtracted from all values, so that large squares do not swamp
  // the variance.
  const Vec shift = broadcast(*first);
  const PlaneSums centred = sum_rows(runs, used, [=](int64_t i, Vec& sum, Vec& squares) {
    const Vec value = load(first + i);
    if constexpr (kCopy) stream(copy + i, value);
    const Vec difference = value - shift;
    sum += difference;
    squares += difference * difference;
  });
  const auto count = static_cast<double>(used * pixels);
  return {centred.first + count * static_cast<double>(*first),
          centred.second - centred.first * centred.first / count};
}

/// Applies sum_values() to the chunks of a plane's rows. x and copy point at the plane; copy may be
/// null.
void sum_plane(const SumChunks& chunks, const float* x, float* copy, int64_t channel, int64_t block,
               const RowRange& rows, int64_t used) {
  const ActivationShape& shape = chunks.shape();
  chunks.fill(channel, block, rows, [&](const RowRange& of) {
    const int64_t first = row_offset(shape, 0, 0, of.begin);
    const PlaneRuns runs = row_runs(shape, of.count());
    const int64_t pixels = of.count() * shape.width;
    if (copy == nullptr) return sum_values<false>(x + first, nullptr, runs, used, pixels);
    return sum_values<true>(x + first, copy + first, runs, used, pixels);
  });
}

/// Writes the statistics of a channel: `squares` is the sum of the squared differences from the
/// mean.
void write_statistics(const BatchNormForward& args, int64_t channel, double mean, double squares) {
  const auto n = static_cast<double>(args.images() * args.shape.height * args.shape.width);
  squares = squares < 0 ? 0 : squares;
  const double momentum = args.options.momentum;
  float& running_mean = floats(args.running_mean)[channel];
  float& running_var = floats(args.running_var)[channel];
  floats(args.saved_mean)[channel] = static_cast<float>(mean);
  floats(args.saved_inv_std)[channel] =
      static_cast<float>(1.0 / std::sqrt(squares / n + args.options.eps));
  running_mean = static_cast<float>((1 - momentum) * running_mean + momentum * mean);
  running_var = static_cast<float>((1 - momentum) * running_var + momentum * squares / (n - 1));
}

/// Returns the sum of the squared differences of a channel from `centre`, from sum_values() of each
/// chunk.
double squares_about(double centre, const SumChunks& chunks, int64_t channel, int64_t batch) {
  double squares = 0;
  chunks.visit(channel, [&](const PlaneSums& chunk, int64_t block, int64_t rows) {
    const auto count = static_cast<double>(used_lanes(batch, block) * rows * chunks.shape().width);
    const double apart = chunk.first / count - centre;
    squares += chunk.second + count * apart * apart;
  });
  return squares;
}

/// Computes the statistics of a channel from sum_values() of each chunk of the batch.
void finish_statistics(const BatchNormForward& args, const SumChunks& chunks, int64_t channel) {
  const int64_t batch = args.launch.batch;
  const auto n = static_cast<double>(batch * args.shape.height * args.shape.width);
  const double mean = chunks.total(channel).first / n;
  write_statistics(args, channel, mean, squares_about(mean, chunks, channel, batch));
}

/// Computes the statistics of all channels of a shared batch. The processes exchange sums of the
/// differences from the running mean, which is the same in all processes and lies near the mean, so
/// that large squares do not swamp the variance.
void finish_shared_statistics(const BatchNormForward& args, const SumChunks& chunks) {
  const ActivationShape& shape = args.shape;
  const auto pixels = static_cast<double>(shape.height * shape.width);
  const auto centre = [&](int64_t channel) {
    return static_cast<double>(floats(args.running_mean)[channel]);
  };
  double* const sums = chunks.compact([&](int64_t channel) -> PlaneSums {
    const auto n = static_cast<double>(args.launch.batch) * pixels;
    return {chunks.total(channel).first - n * centre(channel),
            squares_about(centre(channel), chunks, channel, args.launch.batch)};
  });
  args.shared->add_up(args.shared->context, sums, 2 * shape.channels, args.launch.stream);
  const auto n = static_cast<double>(args.images()) * pixels;
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    const double first = sums[2 * channel], second = sums[2 * channel + 1];
    write_statistics(args, channel, centre(channel) + first / n, second - first * first / n);
  }
}

/// Normalises planes.
class Normaliser {
 public:
  /// y_copy may be null; otherwise it is written like y.
  explicit Normaliser(const BatchNormForward& args, void* y_copy = nullptr)
      : args_(args), y_copy_(floats(y_copy)), normalise_(pick_normalise(args)) {}

  /// Normalises rows, starting at row `first`, with the statistics of the batch.
  void operator()(int64_t channel, int64_t block, int64_t first, const PlaneRuns& runs) const {
    normalise(channel, block, first, runs, floats(args_.saved_mean)[channel],
              floats(args_.saved_inv_std)[channel]);
  }
  void operator()(int64_t channel, int64_t block) const {
    (*this)(channel, block, 0, plane_runs(args_.shape));
  }
  /// Normalises a plane with the running statistics.
  void with_running(int64_t channel, int64_t block, const PlaneRuns& runs) const {
    normalise(channel, block, 0, runs, floats(args_.running_mean)[channel],
              running_inv_std(floats(args_.running_var)[channel], args_.options.eps));
  }

 private:
  void normalise(int64_t channel, int64_t block, int64_t first, const PlaneRuns& runs, float mean,
                 float inv_std) const {
    const ChannelMap map = {mean, floats(args_.gamma)[channel] * inv_std,
                            floats(args_.beta)[channel]};
    const int64_t offset = row_offset(args_.shape, channel, block, first);
    normalise_(floats(args_.y) + offset, y_copy_ == nullptr ? nullptr : y_copy_ + offset,
               floats(args_.x) + offset,
               args_.residual == nullptr ? nullptr : floats(args_.residual) + offset,
               args_.gate == nullptr ? nullptr : floats(args_.gate) + offset, runs, map);
  }

  const BatchNormForward& args_;
  float* y_copy_;
  NormaliseRows normalise_;
};

void forward_train(const BatchNormForward& args) {
  const ActivationShape& shape = args.shape;
  const int64_t batch = args.launch.batch;
  check_batch_norm_count(shape, args.images());
  const int64_t blocks = blocks_of(batch);
  const SumChunks chunks(static_cast<PlaneSums*>(args.workspace), shape, blocks);
  const Normaliser apply(args);

  auto reduce = [&](int64_t channel, int64_t block) {
    sum_plane(chunks, floats(args.x) + row_offset(shape, channel, block, 0), nullptr, channel,
              block, all_rows(shape), used_lanes(batch, block));
  };
  if (args.shared != nullptr) {
    for_each_plane(shape, batch,
                   [&](int64_t plane) { reduce(plane % shape.channels, plane / shape.channels); });
    finish_shared_statistics(args, chunks);
    for_each_plane(shape, batch,
                   [&](int64_t plane) { apply(plane % shape.channels, plane / shape.channels); });
    return;
  }
  auto finish = [&](int64_t channel) { finish_statistics(args, chunks, channel); };
  two_passes(shape.channels, blocks, reduce, finish, apply);
}

void forward_eval(const BatchNormForward& args) {
  const PlaneRuns runs = plane_runs(args.shape);
  const Normaliser apply(args);
  const int64_t channels = args.shape.channels;
  for_each_plane(args.shape, args.launch.batch, [&](int64_t plane) {
    apply.with_running(plane % channels, plane / channels, runs);
  });
}

void sum_block(const BatchNormForward& args, const ChannelSums& sums, int64_t block,
               const RowRange& rows, void* x_copy) {
  const SumChunks chunks = chunks_of(sums, args.shape);
  for (int64_t channel = 0; channel < args.shape.channels; ++channel) {
    const int64_t plane = row_offset(args.shape, channel, 0, 0);
    sum_plane(chunks, floats(args.x) + plane, x_copy == nullptr ? nullptr : floats(x_copy) + plane,
              channel, block, rows, args.launch.batch);
  }
  if (x_copy != nullptr) stream_end();
}

void finish(const BatchNormForward& args, const ChannelSums& sums) {
  check_batch_norm_count(args.shape, args.images());
  const SumChunks chunks = chunks_of(sums, args.shape);
  if (args.shared != nullptr) return finish_shared_statistics(args, chunks);
  for (int64_t channel = 0; channel < args.shape.channels; ++channel)
    finish_statistics(args, chunks, channel);
}

void apply_block(const BatchNormForward& args, const RowRange& rows, void* y_copy) {
  const Normaliser apply(args, y_copy);
  const PlaneRuns runs = band_runs(args.shape, rows.count());
  for (int64_t channel = 0; channel < args.shape.channels; ++channel)
    apply(channel, 0, rows.begin, runs);
  if (y_copy != nullptr) stream_end();
}

}  // namespace

BatchNormKernels batch_norm_kernels() {
  return {.workspace_bytes = workspace_bytes,
          .forward_train = forward_train,
          .forward_eval = forward_eval,
          .backward_train = batch_norm_backward_train,
          .backward_eval = batch_norm_backward_eval,
          .on_blocks = {.sum = sum_block,
                        .finish = finish,
                        .apply = apply_block,
                        .sum_grad = batch_norm_sum_grad,
                        .finish_grad = batch_norm_finish_grad,
                        .apply_grad = batch_norm_apply_grad}};
}

}  // namespace SCULPT_ISA_NAMESPACE
