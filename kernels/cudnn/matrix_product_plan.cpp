// A plan for a convolution of 1 x 1 windows, or for a linear layer, that cuBLAS runs.

#include <algorithm>
#include <cublas_v2.h>
#include <limits>

#include "kernels/common/check.h"
#include "kernels/cudnn/plans.h"

namespace sculpt::kernels::cudnn {
namespace {

using cuda::Precision;

void check_blas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail("{}: cuBLAS says '{}'", what, cublasGetStatusString(status));
}

/// Returns the handle. Float products use cuBLAS's default mode, which is float; sums of bf16
/// products stay float throughout.
cublasHandle_t handle() {
  static const cublasHandle_t the_handle = [] {
    cublasHandle_t created = nullptr;
    check_blas(cublasCreate(&created), "starting cuBLAS");
    const int mode = CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    check_blas(cublasSetMathMode(created, static_cast<cublasMath_t>(mode)), "setting up cuBLAS");
    return created;
  }();
  return the_handle;
}

// The workspace size that cuBLAS recommends for its largest GPUs. With a workspace of the caller
// and one stream, cuBLAS gives the same bits each time.
constexpr size_t kWorkspace = size_t{32} << 20;

// Matrices are row-major here and column-major in cuBLAS, so cuBLAS sees all of them transposed. It
// computes out^T = other^T activation^T, where at most one factor still has to be transposed.
class MatrixProductPlan final : public LibraryPlan {
 public:
  MatrixProductPlan(const LibraryProblem& problem, size_t workspace)
      : pass_(problem.pass),
        accumulate_(problem.accumulate),
        workspace_(workspace),
        pixels_(
            static_cast<int>(problem.batch * problem.shape.out.height * problem.shape.out.width)),
        ins_(static_cast<int>(problem.shape.in.channels)),
        outs_(static_cast<int>(problem.shape.out.channels)),
        type_(problem.precision == Precision::bf16 ? CUDA_R_16BF : CUDA_R_32F),
        compute_(problem.precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                      : CUBLAS_COMPUTE_32F) {}

  size_t workspace_bytes() const override { return workspace_; }
  bool float_weight_grad() const override { return true; }

  void run(void* out, const void* activation, const void* other, void* workspace,
           void* stream) override {
    check_blas(cublasSetStream(handle(), static_cast<cudaStream_t>(stream)),
               "giving cuBLAS a stream");
    check_blas(cublasSetWorkspace(handle(), workspace, workspace_), "giving cuBLAS a workspace");
    switch (pass_) {
      case ConvPass::forward:  // y^T [outs, pixels] = w [outs, ins] x^T
        multiply({.m = outs_,
                  .n = pixels_,
                  .k = ins_,
                  .a = {other, ins_, CUBLAS_OP_T},
                  .b = {activation, ins_, CUBLAS_OP_N},
                  .c = out,
                  .c_type = type_});
        break;
      case ConvPass::input_grad:  // dx^T [ins, pixels] = w^T [ins, outs] dy^T
        multiply({.m = ins_,
                  .n = pixels_,
                  .k = outs_,
                  .a = {other, ins_, CUBLAS_OP_N},
                  .b = {activation, outs_, CUBLAS_OP_N},
                  .c = out,
                  .c_type = type_});
        break;
      case ConvPass::weight_grad:  // dw^T [ins, outs] = x^T [ins, pixels] dy
        multiply({.m = ins_,
                  .n = outs_,
                  .k = pixels_,
                  .a = {other, ins_, CUBLAS_OP_N},
                  .b = {activation, outs_, CUBLAS_OP_T},
                  .c = out,
                  .c_type = CUDA_R_32F});
        break;
    }
  }

 private:
  /// A factor: its elements, the distance between its columns, and whether it is transposed.
  struct Factor {
    const void* data;
    int pitch;
    cublasOperation_t as;
  };
  /// c [m, n] (=, +=) a [m, k] b [k, n].
  struct Product {
    int m, n, k;
    Factor a, b;
    void* c;
    cudaDataType c_type;
  };
  void multiply(const Product& p) const {
    const float alpha = 1.0f, beta = accumulate_ ? 1.0f : 0.0f;
    check_blas(cublasGemmEx(handle(), p.a.as, p.b.as, p.m, p.n, p.k, &alpha, p.a.data, type_,
                            p.a.pitch, p.b.data, type_, p.b.pitch, &beta, p.c, p.c_type, p.m,
                            compute_, CUBLAS_GEMM_DEFAULT),
               "a matrix product of cuBLAS");
  }

  ConvPass pass_;
  bool accumulate_;
  size_t workspace_;
  int pixels_, ins_, outs_;
  cudaDataType type_;
  cublasComputeType_t compute_;
};

}  // namespace

void start_cublas() {
  handle();
}

bool is_matrix_product(const Conv2dShape& shape) {
  return shape.kernel_h == 1 && shape.kernel_w == 1 && shape.stride == 1 && shape.padding == 0 &&
         shape.groups == 1;
}

std::unique_ptr<LibraryPlan> plan_matrix_product(const LibraryProblem& problem, size_t limit,
                                                 std::string& why_not) {
  const int64_t pixels = problem.batch * problem.shape.out.height * problem.shape.out.width;
  if (pixels > std::numeric_limits<int>::max()) {
    why_not = fmt::format("cuBLAS counts in 32 bits, and there are {} pixels", pixels);
    return nullptr;
  }
  return std::make_unique<MatrixProductPlan>(problem, std::min(limit, kWorkspace));
}

std::string cublas_version() {
  int parts[3] = {};
  const libraryPropertyType kinds[] = {MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
  for (int i = 0; i < 3; ++i)
    check_blas(cublasGetProperty(kinds[i], &parts[i]), "asking for cuBLAS's version");
  return fmt::format("cuBLAS {}.{}.{}", parts[0], parts[1], parts[2]);
}

}  // namespace sculpt::kernels::cudnn
