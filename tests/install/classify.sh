#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the example $1 on pictures that MAKER makes: it names what the program softlens $2 names.
set -euo pipefail

example=$(realpath "$1") program=$(realpath "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
"$MAKER" soft model.safetensors good
"$MAKER" picture photo.png 200x150
"$MAKER" picture other.png 90x120
export SOFTLENS_MODELS=$scratch/model.safetensors

labels() # of the program, best first
{
    tail -n +2 | cut -d , -f 3
}

named() # of the example
{
    tail -n +2 | sed 's/^ *[0-9.]* % //; s/, enrolled$//'
}

"$example" photo.png >said
diff <(named <said) <("$program" classify photo.png --csv | labels)

"$example" photo.png 'my class' photo.png other.png >said
"$program" enroll my.gallery 'my class' photo.png other.png --quiet
diff <(named <said) <("$program" classify photo.png --gallery my.gallery --csv | labels)
grep -q ' my class, enrolled$' said

if "$example" nowhere.png 2>said; then
    echo "the example saw what is not there" >&2
    exit 1
fi
grep -q nowhere.png said
