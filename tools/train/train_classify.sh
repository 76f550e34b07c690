#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the small classifier from start to end; the same command again resumes. The second run goes
# on from the first one's weights at full size. In use it sees a centre crop from both sides.
# Usage: train_classify.sh DATA WORK
set -eu
here=$(dirname "$0")
data=$1 work=$2
python3 "$here/classify_data.py" --data "$data" --store "$work/store"
train() # RUN OPTIONS...
{
    run=$work/$1
    shift
    [ -e "$run/done.pt" ] ||
        python3 "$here/train_classify.py" --store "$work/store" --out "$run" \
            --head hyperspherical --cutmix 0.5 --mixup 0.2 --least-area 0.25 --jitter 0.3 \
            --ema 0.999 "$@"
}
train run --steps 12800 --sides 40:0.4 48:0.7 64:1
train more --init "$work/run/checkpoint.pt" --lr 2e-3 --muon-lr 2e-3 --steps 7300 --sides 64:1 \
    --seed 11
python3 "$here/calibrate_classify.py" --checkpoint "$work/more/checkpoint.pt" --data "$data" \
    --out "$work/soft-small.safetensors" --resize 72 --mirror --half
