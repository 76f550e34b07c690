#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# For a machine with a graphics card, which needs no network where the packages of tools/setup.sh are
# there, or what gpu_bundle.sh packed: builds softlens, holds it to its own CPU backend and runs the Vulkan suites on the card, and
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
bundle=$root/build/bundle

# What the bundle has and this machine has not. The suites look for their data where they were built.
unpack() {
    local known
    known=$(ldconfig -p)
    mkdir -p "$bundle/missing"
    for library in "$bundle"/lib/*; do
        grep -qF "$(basename "$library") " <<<"$known" || ln -sf "$library" "$bundle/missing/"
    done
    export LD_LIBRARY_PATH=$bundle/missing${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export VK_LAYER_PATH=$bundle/layer
    built_in=$(cat "$bundle/root")
    [ -e "$built_in" ] || { mkdir -p "$(dirname "$built_in")" && ln -s "$root" "$built_in"; } ||
        tests=0
}

if [ -d "$bundle" ]; then
    unpack
elif ! "$root/tools/build.sh" --test; then
    echo "gpu.sh: going on without the suites" >&2
    tests=0
    [ -f "$root/build/build.ninja" ] || meson setup "$root/build" "$root" -Dtests=false
    ninja -C "$root/build" softlens
fi
[ -d "$bundle" ] || ninja -C "$root/build" tools/bench/gemm-gpu >/dev/null

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
    export SOFTLENS_TEST_DEVICE=$device
    if [ -d "$bundle" ]; then
        "$python" "$root/tools/bench/gpu.py" suites "$bundle" >"$log" || failed=1
    else
        "$root/tools/run_tests.sh" "$root/build" --suite vulkan >"$log" 2>&1 || failed=1
    fi
    suites=$(tail -n 1 "$log")
    echo "Vulkan suites: $suites ($log)"
fi
"$python" "$root/tools/bench/gpu.py" time "$root" "$device" "$official" "${1:-$root/build/gpu.md}" \
    "$suites"
exit "$failed"
