#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains both deblurring models from start to end; the same command again resumes. Each run goes on
# from the weights of the one before. From the second on the change fades where a predictor is not
# sure, and one crop in five to eight is a place of a sharp photograph that a model before changed
# most (build/softlens finds those). The third has three blocks more; from the fifth on the fade is
# the one that ships; the sixth has plain colours and ends the small model. The base model has twice
# the channels and goes on from the fifth, in four runs.
# Usage: train_deblur.sh DATA WORK [PERCENT]: so much of every run's minutes and pairs (default 100);
# 1 only shows that all of it works.
set -eu
here=$(dirname "$0")
data=${1:?"usage: train_deblur.sh DATA WORK [PERCENT]"} work=${2:?"a folder WORK is missing"}
percent=${3:-100}
binary=$here/../../build/softlens
if [ ! -x "$binary" ]; then
    echo "$binary is missing; build it first: tools/build.sh" >&2
    exit 1
fi
mkdir -p "$work"
share() { # NUMBER
    echo $((($1 * percent + 99) / 100))
}
run() {
    tool=$1
    shift
    nice -n 19 python3 "$here/$tool" "$@"
}
pairs() { # NAME COUNT SEED
    run deblur_pairs.py --data "$data" --pairs "$work/pairs-$1" --count "$(share "$2")" --seed "$3"
}
# The folder is whole or not there.
hard() { # NAME: places for the run of that name; MODEL: that is to find them
    [ -e "$work/hard-$1" ] || {
        run deblur_hard.py --data "$data" --binary "$binary" --model "$work/$2.safetensors" \
            --out "$work/hard-$1.part"
        mv "$work/hard-$1.part" "$work/hard-$1"
    }
}
train() { # NAME MINUTES SEED OPTION...
    name=$1 minutes=$(share "$2") seed=$3
    shift 3
    run train_deblur.py --out "$work/run-$name" --minutes "$minutes" --seed "$seed" "$@"
}
rates() { # RATE FALL_FROM: options of a run that goes on
    echo "--lr $1 --muon-lr $1 --fall-from $2 --gate-from 0 --lenient 0.01 --ema 0.998"
}
ship() { # RUN MODEL
    run calibrate_deblur.py --model "$work/run-$1/checkpoint.pt" --threshold 0.25 --fade 0.25 0.83 \
        --half --out "$work/$2.safetensors"
}
# shellcheck disable=SC2046,SC2086 # several options each
{
    pairs first 4400 1
    train first 116 1 --pairs "$work/pairs-first" --threshold 0.3
    run calibrate_deblur.py --model "$work/run-first/checkpoint.pt" --pairs "$work/pairs-first" \
        --threshold 0.25 --out "$work/first.safetensors"
    hard fade first
    train fade 100 7 --pairs "$work/pairs-first" --hard "$work/hard-fade" \
        --init "$work/first.safetensors" --fade 0.1 0.7 --threshold 0.3 $(rates 3e-4 0.45)
    run calibrate_deblur.py --model "$work/run-fade/checkpoint.pt" --pairs "$work/pairs-first" \
        --threshold 0.22 --out "$work/fade.safetensors"
    pairs blocks 7000 11
    hard blocks fade
    blocks="--depths 1 2 4 2 2" ours="--fade 0.25 0.8 --threshold 0.25"
    train blocks 92 12 --pairs "$work/pairs-blocks" --hard "$work/hard-blocks" $blocks \
        --init "$work/fade.safetensors" --fade 0.1 0.7 --threshold 0.3 $(rates 1.5e-3 0.33)
    ship blocks blocks
    pairs falling 7000 21
    hard falling blocks
    train falling 62 31 --pairs "$work/pairs-falling" --hard "$work/hard-falling" --hard-share 0.15 \
        --init "$work/blocks.safetensors" $blocks --fade 0.1 0.7 --threshold 0.3 $(rates 7e-4 0.05)
    pairs last 8000 41
    train last 97 42 --pairs "$work/pairs-last" --hard "$work/hard-falling" --hard-share 0.15 \
        --init "$work/run-falling/ema.safetensors" $blocks $ours $(rates 6e-4 0.05)
    ship last last
    pairs plain 9000 91
    hard plain last
    train plain 20 102 --pairs "$work/pairs-plain" --hard "$work/hard-plain" --hard-share 0.12 \
        --init "$work/last.safetensors" $blocks $ours $(rates 1e-4 0.05)
    ship plain lmd-vit-small
    run eval_deblur.py --model "$work/lmd-vit-small.safetensors" --data "$data"

    wide="--embed 48 $blocks $ours --hard-share 0.12"
    pairs wide 9000 71
    train wide 100 71 --pairs "$work/pairs-wide" --hard "$work/hard-plain" \
        --init "$work/last.safetensors" $wide $(rates 1e-3 0.1)
    ship wide wide
    pairs wider 9000 81
    hard wider wide
    train wider 97 81 --pairs "$work/pairs-wider" --hard "$work/hard-wider" \
        --init "$work/run-wide/ema.safetensors" $wide $(rates 5e-4 0.05)
    ship wider wider
    hard wide-plain wider
    train wide-plain 115 91 --pairs "$work/pairs-plain" --hard "$work/hard-wide-plain" \
        --init "$work/run-wider/ema.safetensors" $wide $(rates 5e-4 0.05) --outside-weight 0.3
    ship wide-plain lmd-vit-base
    run eval_deblur.py --model "$work/lmd-vit-base.safetensors" --data "$data"
}
