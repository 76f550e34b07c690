#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains the three heads side by side, one thread each; the same command again resumes.
# Usage: train_classify.sh DATA WORK [OPTIONS OF train_classify.py ...]
set -eu
here=$(dirname "$0")
data=$1 work=$2
shift 2
mkdir -p "$work"
[ -e "$work/store/novel-query.labels.npy" ] ||
    python3 "$here/classify_data.py" --data "$data" --store "$work/store"
for head in linear ebv hyperspherical; do
    [ -e "$work/run-$head/done.pt" ] ||
        python3 "$here/train_classify.py" --store "$work/store" --out "$work/run-$head" \
            --head "$head" "$@" &
done
wait
