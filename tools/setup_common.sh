# Functions for tools/quickstart, tools/test and .ci/run that install missing packages, configure and build.
# Installing works on Debian 12 and Ubuntu 22.04 / 24.04. Elsewhere packages are only checked, as with
# --no-install.
#
#   setup_dependencies yes|no      yes: install missing packages with apt; no: only check
#   setup_build PRESET [TARGET]... configure and build (everything when no target is named)
#
# Environment: SCULPT_CMAKE_ARGS  extra arguments for `cmake --preset` (split at blanks)
#              SCULPT_JOBS        parallel compile jobs (default: number of processors)

readonly SCULPT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly SCULPT_TOOL_PACKAGES=(g++ cmake ninja-build python3 git)
readonly SCULPT_LIBRARY_PACKAGES=(libfmt-dev doctest-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev libsqlite3-dev)

say() { printf '%s\n' "== $*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Succeeds if version HAVE is at least version WANT: version_at_least HAVE WANT
version_at_least() {
  [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]
}

have_tool() {
  local version
  case "$1" in
    g++)
      command -v "${CXX:-g++}" >/dev/null || return 1
      version="$("${CXX:-g++}" -dumpfullversion -dumpversion 2>/dev/null || true)"
      version_at_least "${version:-0}" 11 || return 1
      ;;
    cmake)
      command -v cmake >/dev/null || return 1
      version="$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')"
      version_at_least "${version:-0}" 3.22 || return 1
      ;;
    ninja-build) command -v ninja >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

have_package() {
  command -v dpkg-query >/dev/null &&
    [[ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null || true)" == "install ok installed" ]]
}

header_of() {
  case "$1" in
    libfmt-dev) echo fmt/core.h ;;
    doctest-dev) echo doctest/doctest.h ;;
    libcli11-dev) echo CLI/CLI.hpp ;;
    libtomlplusplus-dev) echo toml++/toml.h ;;
    nlohmann-json3-dev) echo nlohmann/json.hpp ;;
    libsqlite3-dev) echo sqlite3.h ;;
    *) die "no header known for package $1" ;;
  esac
}

# A library counts as installed if its package is, or if the compiler finds its header. This check does not
# search prefixes that are given to CMake; CMake itself reports what is missing.
have_library() {
  have_package "$1" && return 0
  have_tool g++ &&
    printf '#include <%s>\n' "$(header_of "$1")" |
    "${CXX:-g++}" -std=c++20 -x c++ -fsyntax-only - 2>/dev/null
}

missing_packages() {
  local package
  for package in "${SCULPT_TOOL_PACKAGES[@]}"; do
    have_tool "$package" || echo "$package"
  done
  for package in "${SCULPT_LIBRARY_PACKAGES[@]}"; do
    have_library "$package" || echo "$package"
  done
}

explain_missing() {
  local package
  for package in "$@"; do
    case "$package" in
      g++) echo "  $package: a C++20 compiler, g++ 11 or newer (or set CXX)" ;;
      cmake) echo "  $package: CMake 3.22 or newer" ;;
      libtomlplusplus-dev)
        echo "  $package: toml++ (https://github.com/marzer/tomlplusplus); where there is no such" \
          "package, unpack a release and give its include folder with" \
          "SCULPT_CMAKE_ARGS=-DTOMLPLUSPLUS_INCLUDE_DIR=DIR"
        ;;
      lib* | doctest-dev | nlohmann-json3-dev)
        echo "  $package: header <$(header_of "$package")>; if it lies elsewhere, set CPATH to its" \
          "include folder and CMAKE_PREFIX_PATH to its prefix"
        ;;
      *) echo "  $package" ;;
    esac
  done
}

apt_install() {
  local sudo=()
  if [[ "$(id -u)" != 0 ]]; then
    command -v sudo >/dev/null ||
      die "installing needs root: run this as root or with sudo installed, or install the packages
named above by hand and use --no-install"
    sudo=(sudo)
  fi
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y)
  # The package lists of a new machine are empty, and those of an old machine name files that are gone.
  if ! apt-cache show "$@" >/dev/null 2>&1 ||
    ! "${apt[@]}" install --no-install-recommends "$@" </dev/null; then
    say "apt-get update"
    "${apt[@]}" update </dev/null
    "${apt[@]}" install --no-install-recommends "$@" </dev/null ||
      die "apt-get could not install: $*"
  fi
}

setup_dependencies() {
  local install="$1" missing=()
  mapfile -t missing < <(missing_packages)
  # A toml++ folder that the user names replaces the package.
  if [[ "${SCULPT_CMAKE_ARGS:-}" == *TOMLPLUSPLUS_INCLUDE_DIR=* ]]; then
    local kept=() package
    for package in "${missing[@]}"; do
      [[ "$package" == libtomlplusplus-dev ]] || kept+=("$package")
    done
    missing=("${kept[@]}")
  fi
  [[ ${#missing[@]} == 0 ]] && return 0

  if [[ "$install" != yes ]] || ! command -v apt-get >/dev/null; then
    printf 'error: missing (names of Debian and Ubuntu packages):\n' >&2
    explain_missing "${missing[@]}" >&2
    exit 1
  fi
  say "installing: ${missing[*]}"
  apt_install "${missing[@]}"
  mapfile -t missing < <(missing_packages)
  if [[ ${#missing[@]} != 0 ]]; then
    printf 'error: still missing or too old after installing:\n' >&2
    explain_missing "${missing[@]}" >&2
    exit 1
  fi
}

setup_build() {
  local preset="$1" target targets=() launcher=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    export CCACHE_BASEDIR="$SCULPT_ROOT" CCACHE_NOHASHDIR=1
  fi
  say "building preset $preset"
  cd "$SCULPT_ROOT"
  # shellcheck disable=SC2086  # the variable holds several arguments
  cmake --preset "$preset" "${launcher[@]}" ${SCULPT_CMAKE_ARGS:-} >"$(log_file "configure-$preset")" 2>&1 || {
    cat "$(log_file "configure-$preset")" >&2
    die "configuring preset $preset failed (see above)"
  }
  cmake --build --preset "$preset" --parallel "${SCULPT_JOBS:-$(nproc)}" "${targets[@]}"
}

log_file() {
  mkdir -p "$SCULPT_ROOT/build"
  echo "$SCULPT_ROOT/build/$1.log"
}
