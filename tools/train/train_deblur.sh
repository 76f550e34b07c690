#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the small deblurring model from start to end; the same command again resumes.
# Usage: train_deblur.sh DATA WORK [MINUTES]
set -eu
here=$(dirname "$0")
data=$1 work=$2 minutes=${3:-116}
mkdir -p "$work"
nice -n 19 python3 "$here/deblur_pairs.py" --data "$data" --pairs "$work/pairs" --count 4400
nice -n 19 python3 "$here/train_deblur.py" --pairs "$work/pairs" --threshold 0.3 --out "$work/run" \
    --minutes "$minutes"
nice -n 19 python3 "$here/calibrate_deblur.py" --model "$work/run/checkpoint.pt" \
    --pairs "$work/pairs" --threshold 0.25 --out "$work/lmd-vit-small.safetensors"
nice -n 19 python3 "$here/eval_deblur.py" --model "$work/lmd-vit-small.safetensors" --data "$data"
