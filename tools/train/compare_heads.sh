#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the three heads alike, side by side, one thread each, and writes a model file of each; the
# same command again resumes.
# Usage: compare_heads.sh DATA WORK SEED [OPTIONS OF train_classify.py ...]
set -eu
here=$(dirname "$0")
data=${1:?"usage: compare_heads.sh DATA WORK SEED [OPTION ...]"} work=${2:?"a folder WORK is missing"} seed=${3:?"SEED is missing"}
shift 3
python3 "$here/classify_data.py" --data "$data" --store "$work/store"
train() # HEAD OPTIONS...
{
    run=$work/run-$1-$seed
    [ -e "$run/done.pt" ] ||
        python3 "$here/train_classify.py" --store "$work/store" --out "$run" --seed "$seed" \
            --steps 3800 --sides 40:0.43 48:0.74 64:1 --head "$@"
    python3 "$here/calibrate_classify.py" --checkpoint "$run/checkpoint.pt" --data "$data" \
        --out "$work/soft-$1-$seed.safetensors"
}
train linear "$@" &
runs=$!
train ebv --embedding 128 --scale learned "$@" &
runs="$runs $!"
train hyperspherical "$@" &
for run in $runs $!; do
    wait "$run"
done
