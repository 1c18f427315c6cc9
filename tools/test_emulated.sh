#!/usr/bin/env bash
# Build smcore for another architecture with a cross compiler and run its tests on an emulated
# processor: arm64 (target neon), ppc64el or s390x (target generic; s390x is big endian).
#
#   tools/test_emulated.sh ARCHITECTURE [arguments of pytest]
#
# The whole suite takes half an hour on two cores for arm64, an hour for s390x.
#
# Runs on Debian and its like, with the packages cmake debian-archive-keyring ninja-build
# python3-venv qemu-user-static and a compiler: gcc-aarch64-linux-gnu, gcc-powerpc64le-linux-gnu or
# gcc-s390x-linux-gnu.  What it downloads, from the Debian release that SUITE names (trixie), stays
# in ${TMPDIR:-/tmp}/smcore-emulated for the next run.
set -euo pipefail

architecture=${1:-}
case $architecture in
  arm64)
    triplet=aarch64-linux-gnu target=neon
    # Debian's functions sign their return addresses where the processor can, as QEMU's default does
    # at great length: without that the suite runs ten times as fast.
    export QEMU_CPU=${QEMU_CPU:-cortex-a72}
    ;;
  ppc64el) triplet=powerpc64le-linux-gnu target=generic ;;
  s390x) triplet=s390x-linux-gnu target=generic ;;
  *)
    sed -n 's/^#   tools/usage: tools/p' "$0" >&2
    exit 2
    ;;
esac
shift
emulator=${triplet%%-*}
emulator=qemu-${emulator/powerpc/ppc}-static

source=$(cd "$(dirname "$0")/.." && pwd)
work=${TMPDIR:-/tmp}/smcore-emulated/$architecture
root=$work/root                      # a system of that architecture, unpacked and never booted
python=$root/usr/bin/emulated-python # its Python, as a program that runs here
tools=$work/tools                    # Cython and what it reads of NumPy, of this machine

# unpack PACKAGE...: Debian's, and what they depend on, into the root.
unpack() {
  mkdir -p "$work"/apt/{cache/archives/partial,state/lists/partial} "$root"
  touch "$work/apt/status"
  cat > "$work/apt/sources" << END
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian ${SUITE:-trixie} main
END
  cat > "$work/apt/conf" << END
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
Dir::Etc::SourceList "$work/apt/sources";
Dir::Etc::SourceParts "-";
Dir::State "$work/apt/state";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
END
  APT_CONFIG=$work/apt/conf apt-get update
  APT_CONFIG=$work/apt/conf apt-get install --yes --no-install-recommends --download-only "$@"
  ln -sfn usr/lib "$root/lib"
  ln -sfn usr/lib64 "$root/lib64"
  for package in "$work"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
  done
}

# Emulation is slow: so the system's packages are only unpacked, and whatever this machine can do by
# itself (installing, Cython, compiling) is not done by the emulated Python.
if [ ! -x "$python" ]; then
  unpack python3 libpython3-dev python3-{hypothesis,mpmath,numpy,pytest,pytest-xdist}
  # The libraries of linear algebra are where the packages' scripts would have made links to them.
  cat > "$python" << END
#!/bin/sh
exec $emulator -L "$root" -0 "\$0" \\
  -E LD_LIBRARY_PATH="$root/usr/lib/$triplet/blas:$root/usr/lib/$triplet/lapack" \\
  "$(readlink -f "$root/usr/bin/python3")" "\$@"
END
  chmod +x "$python"
fi
version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')

if [ ! -d "$tools" ]; then
  python3 -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet --upgrade pip cython numpy
fi
# Tests that want ml_dtypes are skipped where it has no wheel.
"$tools/bin/python" -m pip install --quiet --upgrade --target "$work/site" --no-deps \
  --only-binary=:all: --python-version "$version" \
  --platform "manylinux_2_28_${triplet%%-*}" --platform "manylinux_2_17_${triplet%%-*}" \
  ml_dtypes || mkdir -p "$work/site"
export PYTHONPATH=$work/package:$work/site

rm -rf "$work/build" "$work/package"
# The compiler's own headers come first; the other system has those of Python.
cmake -S "$source" -B "$work/build" -G Ninja \
  -D CMAKE_C_COMPILER="$triplet-gcc" \
  -D CMAKE_C_FLAGS="-idirafter $root/usr/include" \
  -D CYTHON_EXECUTABLE="$tools/bin/cython" \
  -D Python_EXECUTABLE="$python" -D Python_INCLUDE_DIR="$root/usr/include/python$version" \
  -D Python_NumPy_INCLUDE_DIR="$(find "$root/usr/lib" -type d -path '*/numpy/_core/include')" \
  -D SKBUILD_PROJECT_VERSION=0
cmake --build "$work/build"
cmake --install "$work/build" --prefix "$work/package"
cp -r "$source/src/smcore" "$work/package"

cd "$source"
export OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
"$python" -c "import smcore; smcore.show_config(); assert '$target' in smcore.targets()"
"$python" -m pytest -p no:cacheprovider --numprocesses "$(nproc)" --dist loadfile -m "" "$@"
