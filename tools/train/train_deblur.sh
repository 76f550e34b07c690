#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the small deblurring model from start to end; the same command again resumes. The second
# run goes on from the first one's weights: the change now fades where a predictor is not sure, and
# one crop in five is a place of a sharp photograph that the first model changed most (build/softlens
# finds those).
# Usage: train_deblur.sh DATA WORK [MINUTES [MORE_MINUTES]]
set -eu
here=$(dirname "$0")
data=$1 work=$2 minutes=${3:-116} more=${4:-100}
binary=$here/../../build/softlens
if [ ! -x "$binary" ]; then
    echo "$binary is missing; build it first: tools/build.sh" >&2
    exit 1
fi
mkdir -p "$work"
run() {
    tool=$1
    shift
    nice -n 19 python3 "$here/$tool" "$@"
}
run deblur_pairs.py --data "$data" --pairs "$work/pairs" --count 4400
run train_deblur.py --pairs "$work/pairs" --threshold 0.3 --out "$work/run" --minutes "$minutes"
run calibrate_deblur.py --model "$work/run/checkpoint.pt" --pairs "$work/pairs" --threshold 0.25 \
    --out "$work/first.safetensors"
[ -e "$work/hard/0.csv" ] || run deblur_hard.py --data "$data" --binary "$binary" \
    --model "$work/first.safetensors" --out "$work/hard"
run train_deblur.py --pairs "$work/pairs" --hard "$work/hard" --init "$work/first.safetensors" \
    --fade 0.1 0.7 --out "$work/run-fade" --minutes "$more" --lr 3e-4 --muon-lr 3e-4 --gate-from 0 \
    --lenient 0.01 --ema 0.998 --threshold 0.3 --seed 7
run calibrate_deblur.py --model "$work/run-fade/checkpoint.pt" --pairs "$work/pairs" \
    --threshold 0.22 --out "$work/lmd-vit-small.safetensors"
run eval_deblur.py --model "$work/lmd-vit-small.safetensors" --data "$data"
