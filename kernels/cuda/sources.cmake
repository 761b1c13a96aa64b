# The sources of the CUDA backend. nvcc compiles them in kernels/, and the C++ compiler compiles them for the
# host in tests/cuda/. device/module.cpp and device/tracing.cpp are not in the list, because the host lacks
# the libraries that they need.
file(GLOB_RECURSE sculpt_cuda_kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
file(GLOB_RECURSE sculpt_cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
list(FILTER sculpt_cuda_sources EXCLUDE REGEX "/device/(module|tracing)\\.cpp$")
list(APPEND sculpt_cuda_sources ${sculpt_cuda_kernels})
