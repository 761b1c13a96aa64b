// Replaces the functions of cuBLAS that kernels/cudnn calls. They multiply column-major matrices in
// host memory by plain loops, and refuse what cuBLAS documents as unsupported.

#include <cublas_v2.h>

#include "kernels/cuda/element.h"

using sculpt::kernels::cuda::bf16;
using sculpt::kernels::cuda::from_float;
using sculpt::kernels::cuda::to_float;

struct cublasContext {
  bool has_workspace = false;
};

namespace {

bool supported(cudaDataType in, cudaDataType out, cublasComputeType_t compute) {
  if (in == CUDA_R_16BF)
    return (out == CUDA_R_16BF || out == CUDA_R_32F) && compute == CUBLAS_COMPUTE_32F;
  return in == CUDA_R_32F && out == CUDA_R_32F &&
         (compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32);
}

double read(const void* data, cudaDataType type, int64_t index) {
  if (type == CUDA_R_16BF)
    return static_cast<double>(to_float(static_cast<const bf16*>(data)[index]));
  return static_cast<double>(static_cast<const float*>(data)[index]);
}

void write(void* data, cudaDataType type, int64_t index, double value) {
  const auto single = static_cast<float>(value);
  if (type == CUDA_R_16BF)
    static_cast<bf16*>(data)[index] = from_float<bf16>(single);
  else
    static_cast<float*>(data)[index] = single;
}

/// Element (row, column) of op(matrix), which is stored in columns `pitch` apart.
int64_t place(cublasOperation_t op, int64_t row, int64_t column, int64_t pitch) {
  return op == CUBLAS_OP_N ? column * pitch + row : row * pitch + column;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t mode) {
  return (mode & CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION) != 0
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_INVALID_VALUE;
}
/// Forgets the workspace, as cuBLAS does.
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t) {
  handle->has_workspace = false;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, size_t) {
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  handle->has_workspace = true;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasGetStatusString(cublasStatus_t) {
  return "refused by the test's cuBLAS";
}
cublasStatus_t cublasGetProperty(libraryPropertyType, int* value) {
  *value = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_as, cublasOperation_t b_as,
                            int m, int n, int k, const void* alpha, const void* a,
                            cudaDataType a_type, int a_pitch, const void* b, cudaDataType b_type,
                            int b_pitch, const void* beta, void* c, cudaDataType c_type,
                            int c_pitch, cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (!handle->has_workspace || a_type != b_type || !supported(a_type, c_type, compute))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a_pitch < (a_as == CUBLAS_OP_N ? m : k) || b_pitch < (b_as == CUBLAS_OP_N ? k : n) ||
      c_pitch < m)
    return CUBLAS_STATUS_INVALID_VALUE;
  const double scale = static_cast<double>(*static_cast<const float*>(alpha));
  const double keep = static_cast<double>(*static_cast<const float*>(beta));
  for (int column = 0; column < n; ++column)
    for (int row = 0; row < m; ++row) {
      double sum = 0;
      for (int i = 0; i < k; ++i)
        sum += read(a, a_type, place(a_as, row, i, a_pitch)) *
               read(b, b_type, place(b_as, i, column, b_pitch));
      const int64_t to = place(CUBLAS_OP_N, row, column, c_pitch);
      // A zero beta does not read the output, which may be anything.
      const double before = keep == 0.0 ? 0.0 : keep * read(c, c_type, to);
      write(c, c_type, to, before + scale * sum);
    }
  return CUBLAS_STATUS_SUCCESS;
}
