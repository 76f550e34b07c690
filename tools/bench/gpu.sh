#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# For a machine with a graphics card: builds softlens, runs the Vulkan suites on the card, and times
# the published configuration and its matrix products beside PyTorch (CUDA) in the same minutes.
#     tools/bench/gpu.sh [FILE.md]      the table goes between the marks of peers.py in FILE.md,
#                                       which is made when missing (default: build/gpu.md)
# DEVICE names the card (softlens devices; default: the best), PYTHON an interpreter with PyTorch,
# TESTS=0 leaves the suites out.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}
device=${DEVICE:-vulkan}
"$root/tools/build.sh" --test
ninja -C "$root/build" tools/bench/gemm-gpu >/dev/null

# Both say in a sentence what is missing.
"$python" "$root/tools/bench/gpu.py" check "$root" "$device"
if [ "${TESTS-1}" != 0 ]; then
    SOFTLENS_TEST_DEVICE=$device "$root/tools/run_tests.sh" "$root/build" --suite vulkan
fi
exec "$python" "$root/tools/bench/gpu.py" time "$root" "$device" "${1:-$root/build/gpu.md}"
