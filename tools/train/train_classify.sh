#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the small classifier from start to end: a first run on the base classes alone, then a longer
# one of a deeper network on larger pictures, where turned pictures and objects of other photographs
# are classes, too. The same command again resumes the first run, not the second. In use the network
# sees eight ninths of a picture, from both sides. DATA holds classify/ and detect/.
# Usage: train_classify.sh DATA WORK
set -eu
here=$(dirname "$0")
data=${1:?"usage: train_classify.sh DATA WORK"} work=${2:?"a folder WORK is missing"}
python3 "$here/classify_data.py" --data "$data/classify" --store "$work/store"
[ -e "$work/run/done.pt" ] ||
    python3 "$here/train_classify.py" --store "$work/store" --out "$work/run" \
        --head hyperspherical --steps 12800 --sides 40:0.4 48:0.7 64:1 --cutmix 0.5 --mixup 0.2 \
        --least-area 0.25 --jitter 0.3 --ema 0.999
[ -e "$work/first.safetensors" ] ||
    python3 "$here/calibrate_classify.py" --checkpoint "$work/run/checkpoint.pt" \
        --data "$data/classify" --out "$work/first.safetensors" --resize 72 --mirror --half
[ -e "$work/classify.pack" ] ||
    python3 "$here/classify_pack.py" --data "$data" --out "$work/classify.pack" --limit 60 --objects 80
[ -e "$work/second/done" ] || { # its checkpoint alone may be one on the way
    python3 "$here/train_classify_card.py" --pack "$work/classify.pack" --out "$work/second" \
        --init "$work/first.safetensors" --device "${DEVICE:-cpu}" --workers 2 --f32 \
        --dims 32 64 128 192 --depths 1 2 3 3 --stem 16 --ratios 4 2 1 --landmarks 16 \
        --embedding 128 --image 96 --sides 64:0.47 96:1 --batch 96 --lr 2e-3 --muon-lr 2e-3 \
        --smoothing 0.05 --rotations 0.25 --least-area 0.25 --fall-from 0.41 \
        --seconds 1e6 --steps 4926 --seed 4
    touch "$work/second/done"
}
python3 "$here/calibrate_classify.py" --checkpoint "$work/second/checkpoint.pt" \
    --data "$data/classify" --out "$work/soft-small.safetensors" --image 96 --resize 108 --mirror --half
