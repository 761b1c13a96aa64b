#pragma once
// Softmax cross-entropy with label smoothing, value and gradient in one pass:
//
//   q = (1 - smoothing) * onehot(label) + smoothing / classes
//   loss_n = -sum_k q_k * log softmax(logits_n)_k ;   dlogits = (softmax - q) / batch
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

struct LossKernels {
  size_t (*workspace_bytes)(int64_t classes, int64_t max_batch);

  /// Adds the batch's sums to *sums. labels: [batch] in [0, classes). dlogits may be null
  /// (evaluation).
  void (*softmax_cross_entropy)(LossSums* sums, void* dlogits, const void* logits,
                                const int32_t* labels, int64_t classes, float label_smoothing,
                                void* workspace, const Launch& launch);
};

}  // namespace sculpt::kernels
