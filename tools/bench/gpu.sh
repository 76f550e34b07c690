#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# For a machine with a graphics card, which needs no network where the packages of tools/setup.sh are
# there: builds softlens, holds it to its own CPU backend and runs the Vulkan suites on the card, and
# times the published configuration and its matrix products beside PyTorch (CUDA) in the same minutes.
#     tools/bench/gpu.sh [FILE.md]      the table goes between the marks of peers.py in FILE.md,
#                                       which is made when missing (default: build/gpu.md)
# DEVICE names the card (softlens devices; default: the best), PYTHON an interpreter with PyTorch,
# TESTS=0 leaves the suites out, which take minutes; one that fails is told once the times are there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}
device=${DEVICE:-vulkan}
tests=${TESTS-1}
if ! "$root/tools/build.sh" --test; then
    echo "gpu.sh: going on without the suites" >&2
    tests=0
    [ -f "$root/build/build.ninja" ] || meson setup "$root/build" "$root" -Dtests=false
    ninja -C "$root/build" softlens
fi
ninja -C "$root/build" tools/bench/gemm-gpu >/dev/null

# All of these say in a sentence what is missing or wrong.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
official=$scratch/official.safetensors
"$python" "$root/tools/bench/gpu.py" check "$root" "$device"
"$python" "$root/tools/bench/peers.py" torch write "$official"
"$python" "$root/tools/bench/gpu.py" parity "$root" "$device" "$official"
suites="not run"
failed=0
if [ "$tests" != 0 ]; then
    log=$root/build/gpu-suites.log
    SOFTLENS_TEST_DEVICE=$device "$root/tools/run_tests.sh" "$root/build" --suite vulkan \
        >"$log" 2>&1 || failed=1
    suites=$(tail -n 1 "$log")
    echo "Vulkan suites: $suites ($log)"
fi
"$python" "$root/tools/bench/gpu.py" time "$root" "$device" "$official" "${1:-$root/build/gpu.md}" \
    "$suites"
exit "$failed"
