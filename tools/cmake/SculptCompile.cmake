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

# sculpt_library(NAME FOLDER folder LINK library...) makes a static library of all sources of a folder and of
# the folders in it. tools/check_includes.py compares LINK with its table.
function(sculpt_library name)
  cmake_parse_arguments(ARG "" "FOLDER" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}/*.cpp)
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC sculpt_settings ${ARG_LINK})
endfunction()
