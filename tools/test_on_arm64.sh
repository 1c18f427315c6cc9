#!/usr/bin/env bash
# Build smcore for 64-bit Arm with a cross compiler and run its tests on an emulated processor:
#
#   tools/test_on_arm64.sh [arguments of pytest]
#
# The whole suite takes more than an hour on two cores, -k neon a third of it.
#
# Runs on Debian and its like, as root (debootstrap asks for that), with the packages
# cmake debootstrap gcc-aarch64-linux-gnu ninja-build python3-venv qemu-user-static.
# What it downloads stays in ${TMPDIR:-/tmp}/smcore-arm64 for the next run.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
work=${TMPDIR:-/tmp}/smcore-arm64
root=$work/root                   # an Arm system, unpacked and never booted
python=$root/usr/bin/arm64-python # its Python, as a program that runs here
tools=$work/tools                 # Cython, of this machine

mkdir -p "$work"

# Emulation is slow: so the system's packages are only unpacked, and whatever this machine can do by
# itself (installing, Cython, compiling) is not done by the emulated Python.
if [ ! -x "$python" ]; then
  debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libpython3-dev \
    trixie "$root"
  for package in "$root"/var/cache/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
  done
  cat > "$python" << END
#!/bin/sh
exec qemu-aarch64-static -L "$root" -0 "\$0" "$(readlink -f "$root/usr/bin/python3")" "\$@"
END
  chmod +x "$python"
fi
version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')

if [ ! -d "$tools" ]; then
  python3 -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet --upgrade pip cython cython-cmake
fi
"$tools/bin/python" -m pip install --quiet --upgrade --target "$work/site" --only-binary=:all: \
  --python-version "$version" \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 \
  hypothesis ml_dtypes mpmath numpy pytest pytest-xdist
export PYTHONPATH=$work/package:$work/site

rm -rf "$work/build" "$work/package"
# The compiler's own headers come first; the Arm system has those of Python.
cmake -S "$source" -B "$work/build" -G Ninja \
  -D CMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
  -D CMAKE_C_FLAGS="-idirafter $root/usr/include" \
  -D CMAKE_MODULE_PATH="$("$tools/bin/python" -c '
import cython_cmake; print(cython_cmake.__path__[0])')/cmake" \
  -D CYTHON_EXECUTABLE="$tools/bin/cython" \
  -D Python_EXECUTABLE="$python" -D SKBUILD_PROJECT_VERSION=0
cmake --build "$work/build"
cmake --install "$work/build" --prefix "$work/package"
cp -r "$source/src/smcore" "$work/package"

cd "$source"
export OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
"$python" -c 'import smcore; smcore.show_config(); assert "neon" in smcore.targets()'
"$python" -m pytest -p no:cacheprovider --numprocesses "$(nproc)" "$@"
