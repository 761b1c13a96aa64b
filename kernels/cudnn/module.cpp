// The functions that libsculpt_cudnn.so exports.

#include "kernels/common/check.h"
#include "kernels/cudnn/plans.h"

namespace sculpt::kernels::cudnn {
namespace {

constexpr size_t kOldestVersion = 91100;  // 9.11.0: the first with plans for described devices

std::string text_of(size_t version) {
  return fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

/// Returns the versions of the libraries that were loaded, which may differ from those of the
/// build.
std::string versions() {
  const size_t version = cudnnGetVersion();
  if (version < kOldestVersion)
    fail("{} was loaded, but {} or newer is needed; put its folder into LD_LIBRARY_PATH",
         text_of(version), text_of(kOldestVersion));
  return text_of(version) + ", " + cublas_version();
}

void start() {
  start_cudnn();
  start_cublas();
}

std::unique_ptr<LibraryPlan> plan(const LibraryProblem& problem, size_t workspace_limit,
                                  std::string& why_not) {
  return is_matrix_product(problem.shape) ? plan_matrix_product(problem, workspace_limit, why_not)
                                          : plan_convolution(problem, workspace_limit, why_not);
}

}  // namespace
}  // namespace sculpt::kernels::cudnn

extern "C" const sculpt::kernels::cuda::ConvLibrary* sculpt_conv_library() {
  using namespace sculpt::kernels;
  static const cuda::ConvLibrary library = {cudnn::versions, cudnn::start, cudnn::plan};
  return &library;
}
