#!/usr/bin/env bash
# Build the C kernels and their check (csrc/tests/check_core.c), without Python, and run it: on this
# machine, on older x86-64 processors that QEMU plays, and on every other architecture for which a cross
# compiler and QEMU are installed.
#
#   tools/test_c_core.sh [architecture...]     (all, unless some are named)
#
# On Debian and its like: cmake ninja-build qemu-user-static and any of gcc-aarch64-linux-gnu
# gcc-arm-linux-gnueabihf gcc-i686-linux-gnu gcc-powerpc64le-linux-gnu gcc-riscv64-linux-gnu
# gcc-s390x-linux-gnu.  Builds stay in ${TMPDIR:-/tmp}/smcore-core.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
work=${TMPDIR:-/tmp}/smcore-core
wanted=" ${*:-all} "
failed=

# build NAME [option of CMake...]
build() {
  local name=$1
  shift
  cmake -S "$source/csrc" -B "$work/$name" -G Ninja "$@" > "$work/$name.log" &&
    cmake --build "$work/$name" >> "$work/$name.log" 2>&1 || {
    tail -n 20 "$work/$name.log"
    failed+=" $name"
    return 1
  }
}

# run NAME TITLE [emulator...]
run() {
  local name=$1 title=$2
  shift 2
  echo "== $title"
  "$@" "$work/$name/check_core" || failed+=" $name"
}

# is_wanted ARCHITECTURE
is_wanted() {
  [[ $wanted == *" all "* || $wanted == *" $1 "* ]]
}

# cross ARCHITECTURE TRIPLET QEMU [flags of the compiler]
cross() {
  local architecture=$1 triplet=$2 emulator=qemu-$3-static flags=${4:-}
  local name=$architecture${flags//[^a-z0-9]/}
  is_wanted "$architecture" || return 0
  if ! command -v "$triplet-gcc" "$emulator" > /dev/null; then
    echo "== $architecture: no $triplet-gcc or no $emulator, left out"
    return 0
  fi
  build "$name" -D CMAKE_SYSTEM_NAME=Linux -D CMAKE_SYSTEM_PROCESSOR="$architecture" \
    -D CMAKE_C_COMPILER="$triplet-gcc" -D CMAKE_C_FLAGS="$flags" \
    -D CMAKE_EXE_LINKER_FLAGS=-static || return 0
  run "$name" "$architecture $flags" "$emulator"
}

mkdir -p "$work"
native=$(uname -m)
if is_wanted "$native" && build "$native"; then
  run "$native" "$native, this processor"
  if [ "$native" = x86_64 ] && command -v qemu-x86_64-static > /dev/null; then
    # The last two have AVX2, but an operating system that does not save its registers.
    for cpu in Nehalem Haswell Haswell,-xsave Haswell,-avx; do
      run "$native" "$native, $cpu" qemu-x86_64-static -cpu "$cpu"
    done
  fi
fi
cross aarch64 aarch64-linux-gnu aarch64
cross armhf arm-linux-gnueabihf arm
cross i686 i686-linux-gnu i386
cross ppc64le powerpc64le-linux-gnu ppc64le
cross riscv64 riscv64-linux-gnu riscv64
cross s390x s390x-linux-gnu s390x            # the oldest processor it may run on: no vectors
cross s390x s390x-linux-gnu s390x -march=z14 # with vectors of float

if [ -n "$failed" ]; then
  echo "failed:$failed"
  exit 1
fi
