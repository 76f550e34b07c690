#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How near softlens batch comes to what bounds it, on a folder of JPEGs of a megapixel: deblur to the
# network alone, classify to the slower of network alone and decoding alone. All of it by turns, so
# that what else the machine does falls on all alike; the best of each counts.
# Usage: tools/bench/batch.sh [PICTURES [ROUNDS]]. The shares are of the best of the rounds.
set -euo pipefail
shopt -s inherit_errexit # within $(...), too: what failed has no rate

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pictures=${1-12}
rounds=${2-3}
"$root/tools/build.sh"
ninja -C "$root/build" tools/bench/batch-bench >/dev/null
bench=$root/build/tools/bench/batch-bench
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/deblur" "$scratch/classify"
"$bench" make "$scratch/deblur" "$pictures" "$root/data/sample.jpg"
"$bench" make "$scratch/classify" $((pictures * 10)) "$root/data/sample.jpg"

# Of a batch: pictures a second, from its first thread's start to its last one's end, and seconds of
# all processors for a picture, from the program's start to its end.
batch() # STEP
{
    local TIMEFORMAT='%U %S'
    rm -rf "$scratch/out"
    { time "$root/build/softlens" batch "$1" "$scratch/$1" -o "$scratch/out/" --json \
        >"$scratch/json"; } 2>"$scratch/time"
    sed -E 's/.*"done":([0-9]+),.*"pictures_per_second":([0-9.]+).*/\1 \2/' "$scratch/json" |
        paste -d ' ' - "$scratch/time" | awk '{ print $2, ($3 + $4) / $1 }'
}

# Takes the better of what is known and what a run prints: pictures/s, and processor time.
best() # RATE SECONDS RATE SECONDS
{
    awk -v a="$1" -v s="$2" -v b="$3" -v t="${4-0}" \
        'BEGIN { print (a > b ? a : b), (s == 0 || t < s ? t : s) }'
}

for step in deblur classify; do
    alone='0 0' whole='0 0' decode='0 0'
    for ((round = 0; round < rounds; round++)); do
        # shellcheck disable=SC2086
        {
            run=$("$bench" "$step" "$scratch/$step")
            alone=$(best $alone $run)
            run=$(batch "$step")
            whole=$(best $whole $run)
            run=$("$bench" decode "$scratch/$step")
            decode=$(best $decode $run)
        }
    done
    # One thread decodes while the others compute; together they cannot do more than the processors.
    awk -v step="$step" -v processors="$(nproc)" -v alone="${alone% *}" -v whole="${whole% *}" \
        -v decode="${decode% *}" -v work="${alone#* }" -v reading="${decode#* }" -v spent="${whole#* }" \
        'BEGIN {
        bound = step == "deblur" || alone < decode ? alone : decode
        all = processors / (work + reading)
        printf "%s: %.2f pictures/s in a batch; %.2f by the network alone, %.1f decoded by a thread, " \
            "%.2f by %d processors that do both: %.1f %% of the bound, %.1f %% of the processors\n",
            step, whole, alone, decode, all, processors, 100 * whole / bound, 100 * whole / all
        printf "%s: %.4f s of processor time a picture; %.4f in the network, %.4f in reading\n",
            step, spent, work, reading }'
done
