# The compile settings of every target.
add_library(sculpt_settings INTERFACE)
target_include_directories(sculpt_settings INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(sculpt_settings INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-psabi)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 wrongly warns of overflows in fmt and std::string, and of uninitialised std::variants.
  target_compile_options(sculpt_settings INTERFACE -Wno-stringop-overflow -Wno-restrict
                         -Wno-maybe-uninitialized)
endif()
if(SCULPT_WERROR)
  target_compile_options(sculpt_settings INTERFACE -Werror)
endif()
if(SCULPT_SANITIZE)
  target_compile_options(sculpt_settings INTERFACE -fsanitize=${SCULPT_SANITIZE}
                         -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(sculpt_settings INTERFACE -fsanitize=${SCULPT_SANITIZE})
endif()

# quick_to_compile(TARGET...) is for tests and programs, which spend little time in code of their own. With
# sanitizers, GCC needs twice as long to optimise such a file as to compile it, and finds no more for it.
function(quick_to_compile)
  if(SCULPT_SANITIZE)
    foreach(target ${ARGN})
      target_compile_options(${target} PRIVATE -O0)
    endforeach()
  endif()
endfunction()

# sculpt_library(NAME FOLDER folder LINK library... [EXCLUDE subfolder]) makes a static library of all sources
# of a folder and of the folders in it, except those of EXCLUDE. tools/check_includes.py compares LINK with its
# table.
function(sculpt_library name)
  cmake_parse_arguments(ARG "" "FOLDER;EXCLUDE" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}/*.cpp)
  if(ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "/${ARG_FOLDER}/${ARG_EXCLUDE}/")
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC sculpt_settings ${ARG_LINK})
endfunction()
