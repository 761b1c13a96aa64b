# Finds cuDNN in the CUDA toolkit, in the system's folders, or in pip's package nvidia-cudnn-*.
#
#   find_package(CUDNN 9.11)     CUDNN_FOUND, CUDNN_VERSION, target CUDNN::cudnn
#
# CUDNN_ROOT (a variable of CMake or of the environment) may name a folder with include/ and lib/, e.g.
# .../site-packages/nvidia/cudnn. This folder is searched first.
include(SculptNvidiaPackage)
sculpt_nvidia_folders(cudnn folders)

find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${folders} PATH_SUFFIXES include)
# pip's packages have only libcudnn.so.9.
find_library(CUDNN_LIBRARY NAMES_PER_DIR NAMES libcudnn.so libcudnn.so.9 HINTS ${folders} PATH_SUFFIXES lib lib64)
if(CUDNN_INCLUDE_DIR)
  sculpt_version_from(CUDNN ${CUDNN_INCLUDE_DIR}/cudnn_version.h CUDNN_MAJOR CUDNN_MINOR CUDNN_PATCHLEVEL)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR
                                  VERSION_VAR CUDNN_VERSION)
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY)
if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  add_library(CUDNN::cudnn UNKNOWN IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES IMPORTED_LOCATION ${CUDNN_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE_DIR};${CUDAToolkit_INCLUDE_DIRS}")
endif()
