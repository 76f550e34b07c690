#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains both deblurring models from start to end; the same command again resumes. Each run goes
# on from the weights of the one before. In the second the change fades where a predictor is not
# sure, and one crop in five is a place of a sharp photograph that the model before changed most
# (build/softlens finds those). The third has three blocks more and new pairs; the fourth new pairs
# again, and rates that fall from the start; the fifth trains with the fade that ships. The base
# model has twice the channels and goes on from the small one, in three runs.
# Usage: train_deblur.sh DATA WORK [MINUTES [MORE [BLOCKS [FALLING [LAST [WIDE [WIDER [PLAIN]]]]]]]], all in minutes
set -eu
here=$(dirname "$0")
data=${1:?"usage: train_deblur.sh DATA WORK [MINUTES ...]"} work=${2:?"a folder WORK is missing"} minutes=${3:-116} more=${4:-100} blocks=${5:-92} falling=${6:-62} last=${7:-97} wide=${8:-100}
wider=${9:-97} plain=${10:-115}
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
# Arguments: the model that is to find hard places, the folder of the store, which is whole or not there.
hard() {
    [ -e "$2" ] || {
        run deblur_hard.py --data "$data" --binary "$binary" --model "$1" --out "$2.part"
        mv "$2.part" "$2"
    }
}
run deblur_pairs.py --data "$data" --pairs "$work/pairs" --count 4400
run train_deblur.py --pairs "$work/pairs" --threshold 0.3 --out "$work/run" --minutes "$minutes"
run calibrate_deblur.py --model "$work/run/checkpoint.pt" --pairs "$work/pairs" --threshold 0.25 \
    --out "$work/first.safetensors"
hard "$work/first.safetensors" "$work/hard"
run train_deblur.py --pairs "$work/pairs" --hard "$work/hard" --init "$work/first.safetensors" \
    --fade 0.1 0.7 --out "$work/run-fade" --minutes "$more" --lr 3e-4 --muon-lr 3e-4 --gate-from 0 \
    --lenient 0.01 --ema 0.998 --threshold 0.3 --seed 7
run calibrate_deblur.py --model "$work/run-fade/checkpoint.pt" --pairs "$work/pairs" \
    --threshold 0.22 --out "$work/second.safetensors"
run deblur_pairs.py --data "$data" --pairs "$work/pairs-blocks" --count 7000 --seed 11
hard "$work/second.safetensors" "$work/hard-blocks"
run train_deblur.py --pairs "$work/pairs-blocks" --hard "$work/hard-blocks" \
    --init "$work/second.safetensors" --depths 1 2 4 2 2 --fade 0.1 0.7 --out "$work/run-blocks" \
    --minutes "$blocks" --lr 1.5e-3 --muon-lr 1.5e-3 --fall-from 0.33 --gate-from 0 --lenient 0.01 \
    --ema 0.998 --threshold 0.3 --seed 12
run calibrate_deblur.py --model "$work/run-blocks/checkpoint.pt" --pairs "$work/pairs-blocks" \
    --threshold 0.25 --fade 0.25 0.83 --half --out "$work/third.safetensors"
run deblur_pairs.py --data "$data" --pairs "$work/pairs-falling" --count 7000 --seed 21
hard "$work/third.safetensors" "$work/hard-falling"
run train_deblur.py --pairs "$work/pairs-falling" --hard "$work/hard-falling" --hard-share 0.15 \
    --init "$work/third.safetensors" --depths 1 2 4 2 2 --fade 0.1 0.7 --out "$work/run-falling" \
    --minutes "$falling" --lr 7e-4 --muon-lr 7e-4 --fall-from 0.05 --gate-from 0 --lenient 0.01 \
    --ema 0.998 --threshold 0.3 --seed 31
run deblur_pairs.py --data "$data" --pairs "$work/pairs-last" --count 8000 --seed 41
run train_deblur.py --pairs "$work/pairs-last" --hard "$work/hard-falling" --hard-share 0.15 \
    --init "$work/run-falling/ema.safetensors" --depths 1 2 4 2 2 --fade 0.25 0.8 \
    --out "$work/run-last" --minutes "$last" --lr 6e-4 --muon-lr 6e-4 --fall-from 0.05 \
    --gate-from 0 --lenient 0.01 --ema 0.998 --threshold 0.25 --seed 42
run calibrate_deblur.py --model "$work/run-last/checkpoint.pt" --threshold 0.25 --fade 0.25 0.83 \
    --half --out "$work/lmd-vit-small.safetensors"
run eval_deblur.py --model "$work/lmd-vit-small.safetensors" --data "$data"
run deblur_pairs.py --data "$data" --pairs "$work/pairs-wide" --count 9000 --seed 71
hard "$work/lmd-vit-small.safetensors" "$work/hard-wide"
run train_deblur.py --pairs "$work/pairs-wide" --hard "$work/hard-wide" --hard-share 0.12 \
    --init "$work/lmd-vit-small.safetensors" --embed 48 --depths 1 2 4 2 2 --fade 0.25 0.8 \
    --out "$work/run-wide" --minutes "$wide" --lr 1e-3 --muon-lr 1e-3 --fall-from 0.1 \
    --gate-from 0 --lenient 0.01 --ema 0.998 --threshold 0.25 --seed 71
run deblur_pairs.py --data "$data" --pairs "$work/pairs-wider" --count 9000 --seed 81
run calibrate_deblur.py --model "$work/run-wide/checkpoint.pt" --threshold 0.25 --fade 0.25 0.83 \
    --half --out "$work/wide.safetensors"
hard "$work/wide.safetensors" "$work/hard-wider"
run train_deblur.py --pairs "$work/pairs-wider" --hard "$work/hard-wider" --hard-share 0.12 \
    --init "$work/run-wide/ema.safetensors" --embed 48 --depths 1 2 4 2 2 --fade 0.25 0.8 \
    --out "$work/run-wider" --minutes "$wider" --lr 5e-4 --muon-lr 5e-4 --fall-from 0.05 \
    --gate-from 0 --lenient 0.01 --ema 0.998 --threshold 0.25 --seed 81
run deblur_pairs.py --data "$data" --pairs "$work/pairs-plain" --count 9000 --seed 91
run calibrate_deblur.py --model "$work/run-wider/checkpoint.pt" --threshold 0.25 --fade 0.25 0.83 \
    --half --out "$work/wider.safetensors"
hard "$work/wider.safetensors" "$work/hard-plain"
run train_deblur.py --pairs "$work/pairs-plain" --hard "$work/hard-plain" --hard-share 0.12 \
    --init "$work/run-wider/ema.safetensors" --embed 48 --depths 1 2 4 2 2 --fade 0.25 0.8 \
    --out "$work/run-plain" --minutes "$plain" --lr 5e-4 --muon-lr 5e-4 --fall-from 0.05 \
    --gate-from 0 --lenient 0.01 --ema 0.998 --threshold 0.25 --outside-weight 0.3 --seed 91
run calibrate_deblur.py --model "$work/run-plain/checkpoint.pt" --threshold 0.25 --fade 0.25 0.83 \
    --half --out "$work/lmd-vit-base.safetensors"
run eval_deblur.py --model "$work/lmd-vit-base.safetensors" --data "$data"
