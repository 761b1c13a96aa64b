# Functions that FindCUDNN and FindNCCL share.

# Sets `result` to the folders in which NVIDIA's package `name` may lie, besides <NAME>_ROOT and the system's
# folders: the CUDA toolkit, then nvidia/<name> in the site-packages of an active virtual environment and of
# python3.
function(sculpt_nvidia_folders name result)
  set(folders ${CUDAToolkit_LIBRARY_ROOT} ${CUDAToolkit_BIN_DIR}/..)
  if(DEFINED ENV{VIRTUAL_ENV})
    file(GLOB packages $ENV{VIRTUAL_ENV}/lib/python3*/site-packages/nvidia/${name})
    list(APPEND folders ${packages})
  endif()
  find_program(SCULPT_PYTHON3 python3)
  mark_as_advanced(SCULPT_PYTHON3)
  if(SCULPT_PYTHON3)
    execute_process(COMMAND ${SCULPT_PYTHON3} -c "import site; print(';'.join(site.getsitepackages() + [site.getusersitepackages()]))"
                    OUTPUT_VARIABLE sites OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(TRANSFORM sites APPEND /nvidia/${name})
    list(APPEND folders ${sites})
  endif()
  set(${result} ${folders} PARENT_SCOPE)
endfunction()

# Sets <package>_VERSION from three numbers that a header defines.
function(sculpt_version_from package header)
  set(version "")
  foreach(macro ${ARGN})
    file(STRINGS ${header} line REGEX "^#define ${macro} +[0-9]+")
    string(REGEX MATCH "[0-9]+ *$" number "${line}")
    string(STRIP "${number}" number)
    list(APPEND version "${number}")
  endforeach()
  list(JOIN version . version)
  set(${package}_VERSION ${version} PARENT_SCOPE)
endfunction()
