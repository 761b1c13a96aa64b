# Finds NCCL in the CUDA toolkit, in the system's folders, or in pip's package nvidia-nccl-*.
#
#   find_package(NCCL)           NCCL_FOUND, NCCL_VERSION, target NCCL::nccl
#
# NCCL_ROOT (a variable of CMake or of the environment) may name a folder with include/ and lib/, e.g.
# .../site-packages/nvidia/nccl. This folder is searched first.
include(SculptNvidiaPackage)
sculpt_nvidia_folders(nccl folders)

find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${folders} PATHS /usr/local/cuda PATH_SUFFIXES include)
# pip's packages have only libnccl.so.2.
find_library(NCCL_LIBRARY NAMES_PER_DIR NAMES libnccl.so libnccl.so.2 HINTS ${folders} PATHS /usr/local/cuda PATH_SUFFIXES lib lib64)
if(NCCL_INCLUDE_DIR)
  sculpt_version_from(NCCL ${NCCL_INCLUDE_DIR}/nccl.h NCCL_MAJOR NCCL_MINOR NCCL_PATCH)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE_DIR
                                  VERSION_VAR NCCL_VERSION)
mark_as_advanced(NCCL_INCLUDE_DIR NCCL_LIBRARY)
if(NCCL_FOUND AND NOT TARGET NCCL::nccl)
  add_library(NCCL::nccl UNKNOWN IMPORTED)
  set_target_properties(NCCL::nccl PROPERTIES IMPORTED_LOCATION ${NCCL_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES "${NCCL_INCLUDE_DIR};${CUDAToolkit_INCLUDE_DIRS}")
endif()
