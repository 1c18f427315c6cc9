#!/usr/bin/env bash
# Build the C kernels and their check (csrc/tests/check_core.c), without Python, and run it: on this
# machine, on older x86-64 processors that QEMU plays, and on every other architecture, Windows
# included, for which a cross compiler and QEMU, or Wine, are installed.
#
#   tools/test_c_core.sh [architecture...]             (all, unless some are named)
#   tools/test_c_core.sh --count [architecture...]
#
# With --count the check is not run. Instead, the instructions are counted that each target takes
# for the softmax of a row of 1000 float32, and compared with those of scalar: all of this machine's
# processor, also if it is too new for emulators.
#
# On Debian and its like: cmake ninja-build qemu-user-static and any of gcc-aarch64-linux-gnu
# gcc-arm-linux-gnueabihf gcc-i686-linux-gnu gcc-powerpc64le-linux-gnu gcc-riscv64-linux-gnu
# gcc-s390x-linux-gnu; gcc-mingw-w64-x86-64 with wine.  Builds stay in ${TMPDIR:-/tmp}/smcore-core.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
work=${TMPDIR:-/tmp}/smcore-core
use=check
if [ "${1:-}" = --count ]; then
  use=count
  shift
fi
wanted=" ${*:-all} "
fewer=2.5 # how many times fewer instructions than scalar's a target must take
failed=
export WINEDEBUG=-all WINEPREFIX=$work/wine

# build NAME [option of CMake...]
build() {
  local name=$1
  shift
  if ! { cmake -S "$source/csrc" -B "$work/$name" -G Ninja "$@" &&
    cmake --build "$work/$name"; } > "$work/$name.log" 2>&1; then
    tail -n 20 "$work/$name.log"
    failed+=" $name"
    return 1
  fi
}

# check NAME TARGETS [emulator...]: that all results are right, and on which targets.
check() {
  local name=$1 targets=$2 found
  shift 2
  "$@" "$work/$name"/check_core* 2>&1 | tr -d '\r' |
    grep -v "TCG doesn't support requested feature" | tee "$work/$name.out" || failed+=" $name"
  found=$(sed -n 's/: OK$//p' "$work/$name.out" | xargs)
  if [ "$found" != "$targets" ]; then
    echo "targets: $found instead of $targets"
    failed+=" $name"
  fi
}

# count NAME TARGETS [emulator...]
count() {
  local name=$1 target scalar
  shift 2
  scalar=$(instructions_per_row scalar "$@")
  for target in $("$@" "$work/$name/softmax_rows"); do
    instructions_per_row "$target" "$@" |
      awk -v "target=$target" -v "scalar=$scalar" -v "fewer=$fewer" '{
        printf "%-8s %6d, %.2f times fewer than scalar\n", target, $1, scalar / $1
        if (target != "scalar" && scalar / $1 < fewer) exit 1
      }' || failed+=" $name"
  done
}

# instructions_per_row TARGET [emulator...]: those of eleven rows less those of one.
instructions_per_row() {
  local target=$1 one eleven
  shift
  one=$(instructions "$target" 1 "$@")
  eleven=$(instructions "$target" 11 "$@")
  echo $(((eleven - one) / 10))
}

# instructions TARGET ROWS [emulator...]
instructions() {
  local program=("$work/$name/softmax_rows" "$1" "$2")
  shift 2
  if [ $# -eq 0 ]; then
    "$work/$name/single_step" "${program[@]}"
  else # QEMU notes each block of instructions that it runs; each is made a block.
    local single=-one-insn-per-tb
    "$1" -help | grep -q -e $single || single=-singlestep
    "$@" $single -d exec,nochain -D /dev/stdout "${program[@]}" | grep -c '^Trace'
  fi
}

# is_wanted ARCHITECTURE
is_wanted() {
  [[ $wanted == *" all "* || $wanted == *" $1 "* ]]
}

# cross ARCHITECTURE TRIPLET EMULATOR TARGETS [flags of the compiler]
cross() {
  local architecture=$1 triplet=$2 emulator=$3 targets=$4 flags=${5:-} system=Linux
  local name=$architecture${flags//[^a-z0-9]/}
  is_wanted "$architecture" || return 0
  if ! command -v "$triplet-gcc" > /dev/null || ! command -v "$emulator" > /dev/null; then
    echo "== $architecture: no $triplet-gcc or no $emulator, left out"
    return 0
  fi
  [ "$architecture" != windows ] || system=Windows
  build "$name" -D CMAKE_SYSTEM_NAME=$system -D CMAKE_SYSTEM_PROCESSOR="$architecture" \
    -D CMAKE_C_COMPILER="$triplet-gcc" -D CMAKE_C_FLAGS="$flags" \
    -D CMAKE_EXE_LINKER_FLAGS=-static || return 0
  echo "== $architecture $flags"
  $use "$name" "$targets" "$emulator"
}

# The targets of this machine, as the operating system knows its processor.
native_targets() {
  case $native in
    x86_64)
      if grep -q ' avx512bw .*avx512vl ' /proc/cpuinfo; then echo avx512; fi
      if grep -q ' avx2 ' /proc/cpuinfo; then echo avx2; fi
      echo sse2 ;;
    aarch64) echo neon ;;
    ppc64le) echo generic ;;
  esac
  echo scalar
}

mkdir -p "$work"
native=$(uname -m)
if is_wanted "$native" && build "$native"; then
  echo "== $native, this processor"
  $use "$native" "$(native_targets | xargs)"
  if [ "$use $native" = "check x86_64" ] && command -v qemu-x86_64-static > /dev/null; then
    # The last two have AVX2, but an operating system that does not save its registers.
    for cpu in Nehalem Haswell Haswell,-xsave Haswell,-avx; do
      echo "== $native, $cpu"
      targets='sse2 scalar'
      [ "$cpu" != Haswell ] || targets="avx2 $targets"
      check "$native" "$targets" qemu-x86_64-static -cpu "$cpu"
    done
  fi
fi
cross aarch64 aarch64-linux-gnu qemu-aarch64-static 'neon scalar'
cross armhf arm-linux-gnueabihf qemu-arm-static scalar
cross i686 i686-linux-gnu qemu-i386-static 'sse2 scalar'
cross ppc64le powerpc64le-linux-gnu qemu-ppc64le-static 'generic scalar'
# Linux says which RISC-V processor has vectors, and so does QEMU 9.
riscv=scalar riscv_cpu=rv64
if [ "$(riscv64-linux-gnu-gcc -dumpversion 2> /dev/null | cut -d. -f1)" -ge 14 ] 2> /dev/null; then
  riscv='generic scalar' riscv_cpu=max
fi
QEMU_CPU=$riscv_cpu cross riscv64 riscv64-linux-gnu qemu-riscv64-static "$riscv"
cross s390x s390x-linux-gnu qemu-s390x-static 'generic scalar' # with vectors of float
if [ "$use" = check ] && [ "$native" = x86_64 ]; then
  cross windows x86_64-w64-mingw32 wine "$(native_targets | xargs)"
fi

if [ -n "$failed" ]; then
  echo "failed:$failed"
  exit 1
fi
