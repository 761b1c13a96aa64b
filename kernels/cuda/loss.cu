// Softmax cross-entropy. One warp per image reads the image's logits three times (the second and
// third time from cache) and computes about 2 x classes exponentials in double, which is little
// work compared with a convolution. The losses of the images go to the workspace, and one block
// adds them up in a fixed order.

#include <cmath>

#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

struct ImageLoss {
  double loss;
  int32_t correct;
};

__device__ double warp_sum(double value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

struct Winner {
  float value;
  int index;
};

/// Returns the larger of the two; on ties, the one with the lower index.
__device__ Winner better(const Winner& a, const Winner& b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

/// Returns the largest logit and its class, in all lanes. If the logit of class 0 is NaN, class 0
/// wins. Other NaNs never win, because comparisons with NaN are false.
template <class T>
__device__ Winner find_winner(const T* logits, int classes, int lane) {
  Winner winner = {-__builtin_inff(), classes};
  for (int k = lane; k < classes; k += kWarp)
    winner = better(winner, {to_float(logits[k]), k});
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const float value = __shfl_xor_sync(0xffffffffu, winner.value, distance);
    const int index = __shfl_xor_sync(0xffffffffu, winner.index, distance);
    winner = better(winner, {value, index});
  }
  const float first = to_float(logits[0]);
  return first != first ? Winner{first, 0} : winner;
}

/// Computes the losses, with one warp per image. dlogits may be null.
template <class T>
__global__ void __launch_bounds__(kThreads)
    image_losses(ImageLoss* losses, T* dlogits, const T* logits, const int32_t* labels, int classes,
                 double smoothing, double inv_images, int64_t batch) {
  follow_previous_kernels();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t n =
      static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + static_cast<int>(threadIdx.x) / kWarp;
  if (n >= batch) return;  // true for all lanes of the warp or for none
  logits += n * classes;
  const int label = labels[n];
  const Winner winner = find_winner(logits, classes, lane);

  double exp_sum = 0;
  double shifted_sum = 0;
  for (int k = lane; k < classes; k += kWarp) {
    const double shifted = static_cast<double>(to_float(logits[k])) - winner.value;
    exp_sum += exp(shifted);
    shifted_sum += shifted;
  }
  exp_sum = warp_sum(exp_sum);
  shifted_sum = warp_sum(shifted_sum);
  if (lane == 0) {
    const double shifted_label = static_cast<double>(to_float(logits[label])) - winner.value;
    const double log_sum = log(exp_sum);
    double loss = (1 - smoothing) * (log_sum - shifted_label);
    if (smoothing > 0) loss += smoothing * (log_sum - shifted_sum / classes);
    losses[n] = {loss, winner.index == label ? 1 : 0};
  }
  if (dlogits == nullptr) return;
  const double inv_exp_sum = 1 / exp_sum;
  for (int k = lane; k < classes; k += kWarp) {
    const double p = exp(static_cast<double>(to_float(logits[k])) - winner.value) * inv_exp_sum;
    const double q = (k == label ? 1 - smoothing : 0) + smoothing / classes;
    dlogits[n * classes + k] = from_float<T>(static_cast<float>((p - q) * inv_images));
  }
}

/// Adds up the losses, in a single block.
__global__ void __launch_bounds__(kThreads)
    add_losses(LossSums* sums, const ImageLoss* losses, int64_t batch) {
  follow_previous_kernels();
  __shared__ double shared[kThreads / kWarp];
  double loss = 0;
  double correct = 0;  // exact, because it is a count
  for (int64_t n = threadIdx.x; n < batch; n += kThreads) {
    loss += losses[n].loss;
    correct += losses[n].correct;
  }
  loss = block_sum(loss, shared);
  correct = block_sum(correct, shared);
  if (threadIdx.x != 0) return;
  sums->loss += loss;
  sums->correct += static_cast<int64_t>(correct);
}

size_t workspace_bytes(int64_t /*classes*/, int64_t max_batch) {
  return static_cast<size_t>(max_batch) * sizeof(ImageLoss);
}

template <class T>
void softmax_cross_entropy(const LossArguments& args) {
  const Launch& launch = args.launch;
  auto* losses = static_cast<ImageLoss*>(args.workspace);
  const dim3 grid(static_cast<unsigned>(ceil_div(launch.batch, kThreads / kWarp)));
  SCULPT_LAUNCH((image_losses<T>), grid, dim3(kThreads), 0, launch.stream, losses,
                static_cast<T*>(args.dlogits), static_cast<const T*>(args.logits), args.labels,
                static_cast<int>(args.classes), static_cast<double>(args.label_smoothing),
                1 / static_cast<double>(args.images_of_mean()), launch.batch);
  SCULPT_LAUNCH(add_losses, dim3(1), dim3(kThreads), 0, launch.stream, args.sums, losses,
                launch.batch);
}

}  // namespace

template <class T>
LossKernels loss_kernels() {
  return {.workspace_bytes = workspace_bytes, .softmax_cross_entropy = softmax_cross_entropy<T>};
}
template LossKernels loss_kernels<float>();
template LossKernels loss_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
