# SPDX-License-Identifier: MIT
# tests/app/shipped.bash: the models that are shipped, found by themselves, on photographs that are.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
export SOFTLENS_MODELS="$ROOT/models"

# The astronaut fills most of data/sample.jpg.
accepted detect "$ROOT/data/sample.jpg" --classes person --max 1 --json -o found.jpg
says '"label":"person"'
check 'the person is where it is' python3 -c '
import json, sys
x1, y1, x2, y2 = (json.load(open(sys.argv[1]))["detections"][0][k] for k in ("x1", "y1", "x2", "y2"))
want = (40, 20, 430, 512)
inter = max(0, min(x2, want[2]) - max(x1, want[0])) * max(0, min(y2, want[3]) - max(y1, want[1]))
union = (x2 - x1) * (y2 - y1) + (want[2] - want[0]) * (want[3] - want[1]) - inter
sys.exit(inter < 0.5 * union)' "$outside/out"
accepted info "$ROOT/models/retina-soft-cells.safetensors"
says '"RBC", "WBC", "Platelets"'
make picture dot.png 1x1
accepted detect dot.png --model retina-soft-cells --score 0.05 --overlay-style crop --json -o dots/
accepted classify "$ROOT/data/cat.jpg" --top 3
accepted deblur "$ROOT/data/sample.jpg" -o sharp.jpg

# A class of one's own among what is found
accepted enroll my.gallery astronaut "$ROOT/data/sample.jpg" --quiet
accepted detect "$ROOT/data/sample.jpg" --classes person --max 1 --gallery my.gallery --json \
    -o refined.jpg
says '"class":"person"'
finish
