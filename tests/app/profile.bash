# SPDX-License-Identifier: MIT
# tests/app/profile.bash: --profile writes a trace beside the work, never in its place.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make picture a.png 64x64
make picture b.png 64x64
make npy x.npy 32x32
export SOFTLENS_MODELS="$work/m.safetensors"

traced() # FILE: a whole trace with a run in it
{
    check "$1 is JSON" "$MAKER" is-json "$1" 1
    check "$1 tells of a run" grep -q '"name":"run","cat":"host","ph":"X"' "$1"
    check "$1 tells of operations" grep -q '"family":"conv"' "$1"
}

accepted deblur a.png -o out.png --device cpu
check 'no trace without --profile' test "$(find . -name '*.json' | wc -l)" = 0
accepted deblur a.png -o one.png --device cpu --profile deblur.json
traced deblur.json
check 'the same picture' cmp out.png one.png
accepted run m.safetensors --input x.npy --output-dir out --device cpu --profile run.json
traced run.json
accepted bench --size 32x32 --repeats 1 --device cpu --profile bench.json
traced bench.json

# Refused before any work
refused 1 'bench.json: already exists' bench --size 32x32 --repeats 1 --profile bench.json
refused 1 'none/t.json: cannot create' deblur a.png -o two.png --profile none/t.json
refused 1 'deblur.json: already exists' deblur a.png -o two.png --profile deblur.json
refused 2 '--profile two.png: is also' deblur a.png -o two.png --profile two.png
refused 2 'profile -: results are not written' deblur a.png -o two.png --profile -
refused 1 './a.png: exists and is no trace' deblur a.png -o two.png --overwrite --profile ./a.png
refused 1 'x.npy: exists and is no trace' run m.safetensors --input x.npy --output-dir o --overwrite \
    --profile x.npy
refused 1 'm.safetensors: exists and is no trace' bench m.safetensors --overwrite \
    --profile m.safetensors
mkdir photos
cp a.png photos/a.png
refused 1 'photos/a.png: exists and is no trace' detect photos --json -o - --overwrite --profile photos/a.png
refused 1 'missing.png: cannot be read' deblur missing.png --profile missing.json
: >bench.json # as mktemp leaves it
accepted bench --size 32x32 --repeats 1 --device cpu --profile bench.json --overwrite
traced bench.json

# A batch that failed in part is told, too
run deblur a.png missing.png b.png -o dir/ --device cpu --profile batch.json
check 'some failed: status 3' test "$status" = 3
traced batch.json
check 'two pictures in it' test "$(grep -o '"name":"deblur"' batch.json | wc -l)" = 2
finish
