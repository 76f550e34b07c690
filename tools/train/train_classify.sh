#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the small classifier from start to end; the same command again resumes. In use it sees seven
# eighths of a picture, from both sides.
# Usage: train_classify.sh DATA WORK
set -eu
here=$(dirname "$0")
data=$1 work=$2
python3 "$here/classify_data.py" --data "$data" --store "$work/store"
[ -e "$work/run/done.pt" ] ||
    python3 "$here/train_classify.py" --store "$work/store" --out "$work/run" \
        --head hyperspherical --steps 12800 --sides 40:0.4 48:0.7 64:1 --cutmix 0.5 --mixup 0.2 \
        --least-area 0.25 --jitter 0.3 --ema 0.999
python3 "$here/calibrate_classify.py" --checkpoint "$work/run/checkpoint.pt" --data "$data" \
    --out "$work/soft-small.safetensors" --resize 72 --mirror --half
