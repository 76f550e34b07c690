#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Times softlens beside PyTorch on this machine and writes the table into README.md.
# Takes two minutes of a quiet machine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tools/setup.sh" --bench
"$root/tools/build.sh"

# PyTorch at its best: one kind of threads, which sleep while they wait.
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=${THREADS:-2}
openmp=$(dirname "$(find /usr/lib -path '*openblas-openmp/libopenblas.so.0' -print -quit)")
[ "$openmp" = . ] || export LD_LIBRARY_PATH=$openmp
exec /usr/bin/python3 "$root/tools/bench/peers.py" "$root" "$root/README.md"
