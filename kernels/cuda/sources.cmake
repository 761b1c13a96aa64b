# The sources of the CUDA backend: built by nvcc in kernels/, and by the C++ compiler for the host in
# tests/cuda/.
set(sculpt_cuda_kernels
  batch_norm.cu
  batch_norm_backward.cu
  conv2d.cu
  conv2d_direct.cu
  conv2d_forward.cu
  conv2d_input_grad.cu
  conv2d_parts.cu
  conv2d_weight_grad.cu
  elementwise.cu
  input.cu
  linear.cu
  loss.cu
  masked_sgd.cu
  pooling.cu
  pruning.cu
  ranking.cu)
set(sculpt_cuda_sources ${sculpt_cuda_kernels} backend.cpp conv2d_library.cpp device_guard.cpp device_memory.cpp
    recording.cpp timing.cpp)
list(TRANSFORM sculpt_cuda_kernels PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(TRANSFORM sculpt_cuda_sources PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
