#!/usr/bin/env bash
# Run cython-lint on the module and its parts.
#
# Of a file that is not called .pyx it judges the layout alone: so it reads copies of the parts that
# are.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
for part in src/smcore/native/*.pxi; do
  cp "$part" "$parts/$(basename "$part" .pxi).pyx"
done
cp pyproject.toml "$parts" # the configuration, which is looked for beside them
cython-lint src
cython-lint "$parts"
