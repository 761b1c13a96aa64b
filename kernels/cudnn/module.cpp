// What libsculpt_cudnn.so exports.

#include <fmt/format.h>

#include "kernels/cudnn/plans.h"

namespace sculpt::kernels::cudnn {
namespace {

std::string versions() {
  const size_t version = cudnnGetVersion();  // 91900: 9.19.0
  return fmt::format("cuDNN {}.{}.{}, {}", version / 10000, version / 100 % 100, version % 100,
                     cublas_version());
}

std::unique_ptr<LibraryPlan> plan(const LibraryProblem& problem, size_t workspace_limit) {
  return is_matrix_product(problem.shape) ? plan_matrix_product(problem, workspace_limit)
                                          : plan_convolution(problem, workspace_limit);
}

}  // namespace
}  // namespace sculpt::kernels::cudnn

extern "C" const sculpt::kernels::cuda::ConvLibrary* sculpt_conv_library() {
  using namespace sculpt::kernels;
  static const cuda::ConvLibrary library = {cudnn::versions, cudnn::plan};
  return &library;
}
