#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains one of the shipped detectors from the classifier's weights to the file; the same command
# again resumes. The general one is taught more kinds than it keeps: what looks like one of its own is
# then something of its own. DATA holds detect/, sharp/ and classify/. The general one's last run is one
# for a graphics card; DEVICE=cpu makes the same steps, far slower.
# Usage: train_detect.sh general|cells DATA WORK
set -eu
here=$(dirname "$0")
kind=${1:?"usage: train_detect.sh general|cells DATA WORK"} data=${2:?"a folder DATA is missing"} work=${3:?"a folder WORK is missing"}
finds="person bicycle car motorcycle bus dog horse pizza laptop raccoon"

# Arguments: the folder with train.json and images/, the run's folder, then options.
train() {
    pictures=$1 run=$2
    shift 2
    [ -e "$run/done.pt" ] ||
        python3 "$here/train_detect.py" --annotations "$pictures/train.json" \
            --images "$pictures/images" --out "$run" --image 400 400 \
            --backbone "$here/../../models/soft-small.safetensors" "$@"
}

# Arguments: the file, the run's folder, then options.
export_to() {
    file=$1 run=$2
    shift 2
    python3 "$here/export_detect.py" --checkpoint "$run/checkpoint.pt" --out "$file" --half "$@"
}

case $kind in
general)
    # shellcheck disable=SC2086 # one word a class
    train "$data/detect" "$work/first" --workers 2 --batch 2 --steps 7260 --channels 96 \
        --sides 256:0.4 352:0.75 448:1 --backbone-rate 0.5 --ema 0.999 --jitter 0.3 --mosaic 0.6 \
        --more "$data" --complete raccoon --classes $finds chair cup bottle "dining table" bowl book \
        handbag "wine glass" truck "traffic light" umbrella cake couch tv sheep cow elephant bird cat \
        bench train airplane bear zebra giraffe "teddy bear"
    # shellcheck disable=SC2086
    export_to "$work/first.safetensors" "$work/first" --classes $finds --shift raccoon:-0.5
    # shellcheck disable=SC2086
    train "$data/detect" "$work/run" --init "$work/first.safetensors" --workers 2 --batch 2 \
        --steps 6690 --channels 96 --image 448 448 --sides 288:0.25 384:0.6 448:1 \
        --zoom 0.65 1.55 --constant 0.1 --lr 1.5e-3 --muon-lr 1.5e-3 --backbone-rate 0.5 \
        --ema 0.999 --jitter 0.3 --mosaic 0.6 --paste 0.35 --more "$data" --complete raccoon \
        --balance $finds --seed 2 --classes $finds chair bowl truck cake tv sheep cow elephant \
        bird cat train bear
    # shellcheck disable=SC2086
    export_to "$work/second.safetensors" "$work/run" --classes $finds --shift raccoon:-0.5
    [ -e "$work/detect.pack" ] || python3 "$here/detect_pack.py" --data "$data" --out "$work/detect.pack"
    [ -e "$work/card/done" ] || { # its checkpoint alone may be one on the way
        python3 "$here/train_detect_card.py" --pack "$work/detect.pack" --out "$work/card" \
            --init "$work/second.safetensors" --device "${DEVICE:-cuda}" --seconds 1e6 --steps 1087 \
            --depths 1 2 3 3 --channels 128 --tower 2 --batch 64 --sides 384:0.5 448:1
        touch "$work/card/done"
    }
    # shellcheck disable=SC2086
    export_to "$work/retina-soft-small.safetensors" "$work/card" --classes $finds \
        --shift raccoon:-0.5 --score 0.45 \
        --trained-on "photographs of COCO, of raccoons, of persons and dogs, and Tiny ImageNet"
    ;;
cells)
    train "$data/detect/bccd" "$work/run-cells" --steps 900 --sides 256:0.6 320:1 --zoom 1.0 1.6 \
        --longest 512 --turn --classes RBC WBC Platelets
    export_to "$work/retina-soft-cells.safetensors" "$work/run-cells" \
        --trained-on "BCCD blood smears"
    ;;
*)
    echo "train_detect.sh: \"$kind\" is neither general nor cells" >&2
    exit 2
    ;;
esac
