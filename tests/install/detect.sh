#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the example $1 on the sample photograph: it finds and draws what the program softlens $2 does.
set -euo pipefail

example=$(realpath "$1") program=$(realpath "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export SOFTLENS_MODELS=$ROOT/models

"$example" "$ROOT/data/sample.jpg" own.jpg | sed 's/ .*//' >said
"$program" detect "$ROOT/data/sample.jpg" -o its.jpg --format csv --quiet
cmp own.jpg its.jpg
diff said <(tail -n +2 its.csv | cut -d , -f 5)
grep -q '^person$' said

if "$example" nowhere.png found.png 2>said; then
    echo "the example saw what is not there" >&2
    exit 1
fi
grep -q nowhere.png said
