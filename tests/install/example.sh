#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the example $1 (then: the program softlens $2) on a photograph, in a folder of its own.
# ROOT: the source tree.
set -euo pipefail

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
photo=$ROOT/data/clock-motion.png
export SOFTLENS_MODELS=$ROOT/tests/data/golden/decoder.safetensors

"$1" "$photo" "$scratch/example.png"
"$2" deblur "$photo" -o "$scratch/program.png" --quiet
cmp "$scratch/example.png" "$scratch/program.png"

if "$1" "$photo" "$scratch/example.png" 2>"$scratch/said"; then
    echo "the example replaced a file that exists" >&2
    exit 1
fi
grep -q example.png "$scratch/said"
