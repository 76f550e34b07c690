#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Times SOFT-Tiny beside PyTorch on this machine and writes the table into README.md; with "scaling",
# times pictures of 224 to 1792 pixels instead and draws docs/soft-scaling.svg.
# Takes a minute of a quiet machine, and some ten for the drawing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tools/setup.sh" --bench
"$root/tools/build.sh"

# PyTorch at its best: one kind of threads, which sleep while they wait.
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=${THREADS:-2}
openmp=$(dirname "$(find /usr/lib -path '*openblas-openmp/libopenblas.so.0' -print -quit)")
[ "$openmp" = . ] || export LD_LIBRARY_PATH=$openmp
case ${1:-peers} in
    scaling) exec /usr/bin/python3 "$root/tools/bench/soft_peers.py" scaling "$root" "$root/docs/soft-scaling" ;;
    *) exec /usr/bin/python3 "$root/tools/bench/soft_peers.py" peers "$root" "$root/README.md" ;;
esac
