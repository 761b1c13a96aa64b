#include <cmath>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

size_t workspace_bytes(int64_t, int64_t) {
  return 0;
}

void softmax_cross_entropy(const LossArguments& args) {
  LossSums total;
  const int64_t batch = args.launch.batch, classes = args.classes;
  const double smoothing = args.label_smoothing;
  const auto count = static_cast<double>(classes);
  const auto images = static_cast<double>(args.images_of_mean());
  for (int64_t n = 0; n < batch; ++n) {
    const double* z = doubles(args.logits) + n * classes;
    int64_t winner = 0;
    for (int64_t k = 1; k < classes; ++k)
      if (z[k] > z[winner]) winner = k;
    double exp_sum = 0;
    for (int64_t k = 0; k < classes; ++k)
      exp_sum += std::exp(z[k] - z[winner]);
    for (int64_t k = 0; k < classes; ++k) {
      const double q = (k == args.labels[n] ? 1 - smoothing : 0) + smoothing / count;
      const double log_p = z[k] - z[winner] - std::log(exp_sum);
      if (q != 0) total.loss -= q * log_p;
      if (args.dlogits != nullptr)
        doubles(args.dlogits)[n * classes + k] = (std::exp(log_p) - q) / images;
    }
    total.correct += winner == args.labels[n] ? 1 : 0;
  }
  args.sums->loss += total.loss;
  args.sums->correct += total.correct;
}

}  // namespace

LossKernels loss_kernels() {
  return {.workspace_bytes = workspace_bytes, .softmax_cross_entropy = softmax_cross_entropy};
}

}  // namespace sculpt::kernels::reference
