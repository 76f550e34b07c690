#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs softlens classify and enroll on the sample photographs, times both from the start of the
# process to its end, and writes what they print and how long they took into README.md.
# Arguments: the model; without one the default one. A minute of a quiet machine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tools/setup.sh" --bench
"$root/tools/build.sh"
[ $# -eq 0 ] || export SOFTLENS_MODELS=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$root"/data/*.jpg "$root"/data/*.png "$scratch"
cd "$scratch"
mkdir -p pics
# Five photographs as large as cat.jpg; copies of one would be left out of a class.
/usr/bin/python3 - <<'PYTHON'
from PIL import Image
size = Image.open("cat.jpg").size
sample = Image.open("sample.jpg")
right, below = sample.width - size[0], sample.height - size[1]
corners = [(0, 0), (right, 0), (0, below), (right, below), (right // 2, below // 2)]
for n, (x, y) in enumerate(corners):
    sample.crop((x, y, x + size[0], y + size[1])).save(f"pics/{n}.jpg", quality=92)
PYTHON

softlens()
{
    "$root/build/softlens" "$@"
}

# The least milliseconds of 15 runs of the program; fails with it, as the time would be none of work.
best_ms() # ARGUMENTS...
{
    local least=1000000000 start end
    for _ in {1..15}; do
        rm -f timed.gallery
        start=${EPOCHREALTIME/./}
        softlens "$@" >/dev/null || exit 1
        end=${EPOCHREALTIME/./}
        ((end - start < least)) && least=$((end - start))
    done
    echo $(((least + 500) / 1000))
}

show() # ARGUMENTS...: a command and what it prints, as a block of the README
{
    local typed='' word
    for word; do
        [[ $word != *' '* ]] || word="'$word'"
        typed+=" $word"
    done
    echo "    \$ softlens$typed"
    softlens "$@" | sed 's/^/    /'
}

enrolled=$(softlens enroll counted.gallery cat pics)
[[ $enrolled == *'of 5 pictures'* ]] || {
    echo "classify.sh: five photographs were to be enrolled: $enrolled" >&2
    exit 1
}
# Variables: the failure of a command that is named within another one's words ends nothing.
naming=$(best_ms classify cat.jpg)
enrolling=$(best_ms enroll timed.gallery cat pics)
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
{
    show classify cat.jpg
    show enroll my.gallery 'wall clock' clock-motion.png
    show classify --gallery my.gallery --top 2 clock-motion.png
    echo
    echo "From the start of the program to its end, least of 15, on $(nproc) threads of ${processor:-this processor}:" \
        "naming what is in a 451 x 300 photograph takes $naming ms," \
        "enrolling five others of that size $enrolling ms."
} >block

awk -v block=block '
    /<!-- tools\/bench\/classify.sh writes this -->/ {
        print
        while ((getline line <block) > 0)
            print line
        inside = 1
    }
    /<!-- up to here: classify -->/ { inside = 0 }
    !inside
' "$root/README.md" >readme
cp readme "$root/README.md"
cat block
