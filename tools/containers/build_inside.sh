#!/usr/bin/env bash
# Builds and installs Sculpt while a container image is made. The recipes of this folder call it.
#
# usage: build_inside.sh build PRESET PREFIX   installs packages, builds the preset cpu or cuda, installs to PREFIX
#        build_inside.sh runtime               installs the packages that the installed programs need
#
# Works in images of Debian 12 and Ubuntu 24.04, as root. Environment: SCULPT_CUDA_ARCHS (for example "80;90"),
# SCULPT_JOBS.
set -euo pipefail

packages() {
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/*
}

case "${1:-}" in
  build)
    preset=${2:?the preset is missing} prefix=${3:?the prefix is missing}
    packages g++ cmake ninja-build python3 git libfmt-dev doctest-dev libcli11-dev libtomlplusplus-dev \
      nlohmann-json3-dev libsqlite3-dev openmpi-bin libopenmpi-dev
    cd "$(dirname "${BASH_SOURCE[0]}")/../.."
    # The files belong to the user who has copied them, and git refuses to read the commit of other users' trees.
    git config --global --add safe.directory "$PWD"
    options=(-DSCULPT_TESTS=OFF)
    if [[ $preset == cuda && -n ${SCULPT_CUDA_ARCHS:-} ]]; then
      options+=("-DSCULPT_CUDA_ARCHS=$SCULPT_CUDA_ARCHS")
    fi
    cmake --preset "$preset" "${options[@]}"
    cmake --build "build/$preset" --parallel "${SCULPT_JOBS:-$(nproc)}"
    cmake --install "build/$preset" --prefix "$prefix" --strip
    "$prefix/bin/sculpt_run" --version
    ;;
  runtime)
    # The package of toml++ is libtomlplusplus3 in Debian 12, and libtomlplusplus3t64 in Ubuntu 24.04.
    packages libfmt9 '^libtomlplusplus3(t64)?$' libsqlite3-0 openmpi-bin
    ;;
  *)
    sed -n '2,/^set /{/^#/p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
