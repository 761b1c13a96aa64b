
#include "kernels/loss.h"

#include <cmath>

#include "kernels/cpu/plane.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

size_t workspace_bytes(int64_t, int64_t) {
  return 0;
}

struct ImageLoss {
  double loss = 0;
  bool correct = false;
};

/// Computes the loss of one image. Consecutive logits and dlogits are kLanes floats apart; dlogits
/// may be null.
ImageLoss image_loss(float* dlogits, const float* logits, int32_t label, int64_t classes,
                     double smoothing, double grad_scale) {
  const auto count = static_cast<double>(classes);
  float largest = logits[0];
  int64_t winner = 0;
  for (int64_t k = 1; k < classes; ++k) {
    if (logits[k * kLanes] > largest) {
      largest = logits[k * kLanes];
      winner = k;
    }
  }
  double exp_sum = 0;
  double shifted_sum = 0;
  double shifted_label = 0;
  for (int64_t k = 0; k < classes; ++k) {
    const double shifted = static_cast<double>(logits[k * kLanes]) - largest;
    exp_sum += std::exp(shifted);
    shifted_sum += shifted;
    if (k == label) shifted_label = shifted;
  }
  const double log_sum = std::log(exp_sum);
  double loss = (1 - smoothing) * (log_sum - shifted_label);
  if (smoothing > 0) loss += smoothing * (log_sum - shifted_sum / count);
  if (dlogits != nullptr) {
    for (int64_t k = 0; k < classes; ++k) {
      const double p = std::exp(static_cast<double>(logits[k * kLanes]) - largest) / exp_sum;
      const double q = (k == label ? 1 - smoothing : 0) + smoothing / count;
      dlogits[k * kLanes] = static_cast<float>((p - q) * grad_scale);
    }
  }
  return {loss, winner == label};
}

// Images are processed in chunks that fit the stack, so that nothing is allocated. Losses are added
// in image order, whatever the number of threads.
constexpr int64_t kChunkBlocks = 32;

void softmax_cross_entropy(const LossArguments& args) {
  const int64_t batch = args.launch.batch;
  const double grad_scale = 1.0 / static_cast<double>(args.images_of_mean());
  const int64_t block_stride = args.classes * kLanes;
  LossSums total;
  for (int64_t first = 0; first < blocks_of(batch); first += kChunkBlocks) {
    ImageLoss images[kChunkBlocks * kLanes];
    const int64_t left = blocks_of(batch) - first;
    const int64_t blocks = left < kChunkBlocks ? left : kChunkBlocks;
    parallel_for(blocks, [&](int64_t begin, int64_t end, int) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t block = first + b;
        const float* in = floats(args.logits) + block * block_stride;
        float* out =
            args.dlogits == nullptr ? nullptr : floats(args.dlogits) + block * block_stride;
        const int64_t used = used_lanes(batch, block);
        for (int64_t lane = 0; lane < used; ++lane)
          images[b * kLanes + lane] = image_loss(out == nullptr ? nullptr : out + lane, in + lane,
                                                 args.labels[block * kLanes + lane], args.classes,
                                                 args.label_smoothing, grad_scale);
        if (out == nullptr) continue;
        for (int64_t k = 0; k < args.classes; ++k)
          for (int64_t lane = used; lane < kLanes; ++lane)
            out[k * kLanes + lane] = 0;
      }
    });
    const int64_t end = batch - first * kLanes;
    for (int64_t i = 0; i < blocks * kLanes && i < end; ++i) {
      total.loss += images[i].loss;
      total.correct += images[i].correct ? 1 : 0;
    }
  }
  args.sums->loss += total.loss;
  args.sums->correct += total.correct;
}

}  // namespace

LossKernels loss_kernels() {
  return {.workspace_bytes = workspace_bytes, .softmax_cross_entropy = softmax_cross_entropy};
}

}  // namespace SCULPT_ISA_NAMESPACE
