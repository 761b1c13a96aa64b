#pragma once
// Softmax cross-entropy with label smoothing, value and gradient in one pass:
//
//   q = (1 - smoothing) * onehot(label) + smoothing / classes
//   loss_n = -sum_k q_k * log softmax(logits_n)_k ;   dlogits = (softmax - q) / images
//
// `images` is the number of images whose mean loss is differentiated: those of the batch, or of a
// larger batch that several processes share.
//
// logits and dlogits: [ceil(batch/lanes)][classes][lanes]. Padded lanes of dlogits are exactly 0.

#include <cstddef>

#include "kernels/common/layout.h"

namespace sculpt::kernels {

/// Sums over images, in double and in a fixed order.
struct LossSums {
  double loss = 0;      ///< sum (not mean) of the per-image losses
  int64_t correct = 0;  ///< images whose largest logit (first on ties) is the label's
};

struct LossArguments {
  LossSums* sums = nullptr;  ///< the batch's sums are added to it; in the backend's memory
  void* dlogits = nullptr;   ///< null: no gradient is computed (evaluation)
  const void* logits = nullptr;
  const int32_t* labels = nullptr;  ///< [batch], in [0, classes)
  int64_t classes = 0;
  float label_smoothing = 0;  ///< in [0, 1)
  int64_t images = 0;         ///< images of the mean loss; 0: launch.batch
  void* workspace = nullptr;  ///< LossKernels::workspace_bytes()
  Launch launch;

  int64_t images_of_mean() const { return images > 0 ? images : launch.batch; }
};

struct LossKernels {
  size_t (*workspace_bytes)(int64_t classes, int64_t max_batch);
  void (*softmax_cross_entropy)(const LossArguments& args);
};

}  // namespace sculpt::kernels
