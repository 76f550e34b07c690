#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes docs/example.jpg, the README's picture, by running build/softlens on data/sample.jpg:
# before, where blur was seen, after.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tools/setup.sh" --bench
"$root/tools/build.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$root/build/softlens" deblur "$root/data/sample.jpg" -o "$scratch/after.png" \
    --heat "$scratch/heat.png"
/usr/bin/python3 - "$root/data/sample.jpg" "$scratch/heat.png" "$scratch/after.png" \
    "$root/docs/example.jpg" <<'PYTHON'
import sys
from PIL import Image
panels = [Image.open(path).convert("RGB") for path in sys.argv[1:4]]
gap = 6
width, height = panels[0].size
out = Image.new("RGB", (3 * width + 2 * gap, height), "white")
for i, panel in enumerate(panels):
    out.paste(panel, (i * (width + gap), 0))
out.save(sys.argv[4], quality=88)
PYTHON
