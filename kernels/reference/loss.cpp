#include <cmath>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

size_t workspace_bytes(int64_t, int64_t) {
  return 0;
}

void softmax_cross_entropy(LossSums* sums, void* dlogits, const void* logits, const int32_t* labels,
                           int64_t classes, float label_smoothing, void* /*workspace*/,
                           const Launch& launch) {
  LossSums total;
  const double smoothing = label_smoothing;
  const auto count = static_cast<double>(classes);
  for (int64_t n = 0; n < launch.batch; ++n) {
    const double* z = doubles(logits) + n * classes;
    int64_t winner = 0;
    for (int64_t k = 1; k < classes; ++k)
      if (z[k] > z[winner]) winner = k;
    double exp_sum = 0;
    for (int64_t k = 0; k < classes; ++k)
      exp_sum += std::exp(z[k] - z[winner]);
    for (int64_t k = 0; k < classes; ++k) {
      const double q = (k == labels[n] ? 1 - smoothing : 0) + smoothing / count;
      const double log_p = z[k] - z[winner] - std::log(exp_sum);
      if (q != 0) total.loss -= q * log_p;
      if (dlogits != nullptr)
        doubles(dlogits)[n * classes + k] =
            (std::exp(log_p) - q) / static_cast<double>(launch.batch);
    }
    total.correct += winner == labels[n] ? 1 : 0;
  }
  sums->loss += total.loss;
  sums->correct += total.correct;
}

}  // namespace

LossKernels loss_kernels() {
  return {workspace_bytes, softmax_cross_entropy};
}

}  // namespace sculpt::kernels::reference
