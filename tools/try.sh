#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds softlens and lets it work. With arguments they are the program's own:
#     tools/try.sh deblur photo.jpg -o sharp.jpg
# Without, the sample photograph is deblurred into build/try/.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/build.sh"
softlens=$root/build/softlens

if [ $# -gt 0 ]; then
    exec "$softlens" "$@"
fi

results=$root/build/try
mkdir -p "$results"
"$softlens" deblur "$root/data/sample.jpg" -o "$results/sample.jpg" --heat "$results/heat.png" \
    --compare "$results/compare.png" --overwrite
echo "Look at $results/compare.png (before and after); beside it sample.jpg (the result) and" \
    "heat.png (where blur was seen)."
