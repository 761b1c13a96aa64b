# Finds every third-party dependency. Each is a Debian package (README, "Set-up").
find_package(Threads REQUIRED)

# MPI is optional. Its C interface suffices; newer versions have no other. CMake finds it with a C compiler.
include(CheckLanguage)
check_language(C)
if(CMAKE_C_COMPILER)
  enable_language(C)
  find_package(MPI QUIET COMPONENTS C)
endif()
if(NOT MPI_C_FOUND)
  message(STATUS "MPI was not found (packages openmpi-bin and libopenmpi-dev): several ranks of a run use sockets")
endif()

# SQLite holds the index of runs. Without it, sculpt_study reads all run folders each time.
find_package(SQLite3 QUIET)
if(NOT TARGET SQLite::SQLite3)
  message(STATUS "SQLite was not found (package libsqlite3-dev): sculpt_study keeps no index of runs")
endif()

# On machines without packages, SCULPT_HEADERS names one folder with the headers of all dependencies.
set(SCULPT_HEADERS "" CACHE PATH "Folder with fmt/, nlohmann/, CLI/, toml++/ and doctest/, used instead of packages")
if(SCULPT_HEADERS)
  foreach(target fmt::fmt nlohmann_json::nlohmann_json CLI11::CLI11 tomlplusplus::tomlplusplus doctest::doctest)
    add_library(${target} INTERFACE IMPORTED)
    target_include_directories(${target} INTERFACE ${SCULPT_HEADERS})
  endforeach()
  target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)
  return()
endif()

find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

find_package(tomlplusplus CONFIG QUIET)
if(NOT TARGET tomlplusplus::tomlplusplus)
  # Some releases ship the header without a CMake package.
  find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)
  add_library(tomlplusplus::tomlplusplus INTERFACE IMPORTED)
  target_include_directories(tomlplusplus::tomlplusplus INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR})
endif()

if(SCULPT_TESTS)
  find_package(doctest REQUIRED)
endif()
