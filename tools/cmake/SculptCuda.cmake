# Enables the CUDA language and sets its options. SCULPT_CUDA (preset cuda) includes this file;
# SCULPT_CUDA_ARCHS lists the architectures to compile for.
set(SCULPT_CUDA_ARCHS "80;86;89;90;100;120" CACHE STRING "GPU architectures, e.g. 80;90")

# CMake below 3.25.2 does not know nvcc's option for C++20, which is set below.
set(CMAKE_CUDA_ARCHITECTURES ${SCULPT_CUDA_ARCHS})
if(NOT CMAKE_CUDA_COMPILER AND EXISTS /usr/local/cuda/bin/nvcc)
  set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
endif()
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION OR CMAKE_CUDA20_STANDARD_COMPILE_OPTION STREQUAL "")
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)
# cuDNN is optional. Without it, `--conv cudnn` is an error.
find_package(CUDNN 9.11)
# NCCL is optional. Without it, a run has one rank with a GPU.
find_package(NCCL 2.18)
