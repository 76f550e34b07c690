# SPDX-License-Identifier: MIT
# tests/app/models.bash: models that are none, or damaged, or of something else. PTH names the
# directory of small checkpoints.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make picture a.png 64x64
make npy x.npy 64x48
make model good.safetensors good
for how in missing extra shape nan architecture; do
    make model "$how.safetensors" "$how"
done

bad() # PATTERN MODEL: by every command
{
    refused 1 "$1" deblur a.png --model "$2"
    refused 1 "$1" info "$2"
    refused 1 "$1" convert "$2" -o out.safetensors
    refused 1 "$1" run "$2" --input x.npy --output-dir out
    refused 1 "$1" bench "$2" --size 64x64 --repeats 1
}

: >empty.safetensors
echo 'no model' >text.safetensors
mkdir folder
bad 'nowhere' nowhere.safetensors
bad 'folder' folder
bad 'empty\.safetensors' empty.safetensors
bad 'text\.safetensors' text.safetensors
bad 'a\.png' a.png
bad 'upsample_0' missing.safetensors
bad 'stowaway' extra.safetensors
bad 'upsample_0' shape.safetensors
bad 'upsample_0' nan.safetensors
bad 'hourglass' architecture.safetensors

# What else is made here is told by its name
make soft soft.safetensors good
make gallery my.gallery soft.safetensors raccoon 2
bad 'my\.gallery: a gallery of enrolled classes, no model; look into it as a gallery \(softlens gallery FILE\)$' my.gallery
accepted ebv --classes 4 --dim 8 -o ebv.safetensors
bad 'ebv\.safetensors: a table of Equiangular Basis Vectors, no model' ebv.safetensors

refused 2 'says that its inverse is norm, not soft' convert soft.safetensors -o out.safetensors --inverse soft

# Metadata of any length
python3 - good.safetensors long.safetensors <<'END'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size, = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + size])
header["__metadata__"]["note"] = "x" + 700 * "\u00e9"
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open(sys.argv[2], "wb").write(struct.pack("<Q", len(text)) + text + data[8 + size:])
END
accepted info long.safetensors
says ' x(é){509}\.\.\.$'

# Cut at every 4 KiB
size=$(wc -c <good.safetensors)
for ((at = 4096; at < size; at += 4096)); do
    head -c "$at" good.safetensors >cut.safetensors
    refused 1 'cut\.safetensors' info cut.safetensors
done
for at in 1 7 8 9 100 $((size - 1)); do
    head -c "$at" good.safetensors >cut.safetensors
    refused 1 'cut\.safetensors' deblur a.png --model cut.safetensors
done

# Checkpoints: none of these holds a network that we know, some hold what must never run.
seen=0
for file in "$PTH"/*.pth; do
    [ -e "$file" ] || continue
    cp "$file" .
    refused 1 '.' convert "${file##*/}" -o out.safetensors
    refused 1 '.' deblur a.png --model "${file##*/}"
    seen=$((seen + 1))
done
check "all $seen checkpoints were tried" test "$seen" -gt 0

# An installed one by its name; a file of that name, or with a folder before it, is meant as such.
mkdir own
cp good.safetensors own/my-own.safetensors
export SOFTLENS_MODELS=$work/own
accepted info my-own
accepted deblur a.png --model my-own
rm a.deblurred.png
mkdir my-own
accepted info my-own
rmdir my-own
refused 1 'my-one\.safetensors was not found' deblur a.png --model my-one
check '  a line that says where it was sought' one_line
refused 1 './my-own: ' deblur a.png --model ./my-own
: >my-own
refused 1 'my-own: ' deblur a.png --model my-own
rm my-own

# No default model anywhere
export SOFTLENS_MODELS=$work/folder HOME=$work/folder XDG_DATA_DIRS=$work/folder
run deblur a.png
if [ "$status" != 0 ]; then # the build tree may have one
    check 'no default model: status 1' test "$status" = 1
    check '  a line that says where it was sought' one_line
else
    rm -f a.deblurred.png
fi
# Labels from a file
detector=$ROOT/tests/data/golden/retina-plain.safetensors
names=$outside/names.txt
printf 'person\ncar\r\nжираф\n猫\nraccoon' >"$names"
accepted convert "$detector" -o named.safetensors --labels "$names"
accepted info named.safetensors
says 'жираф'
printf '\357\273\277person\r\ncar\r\nжираф\r\n猫\r\nraccoon\r\n' >"$names" # as Windows writes it
accepted convert "$detector" -o marked.safetensors --labels "$names"
check 'a byte order mark is no part of a name' cmp named.safetensors marked.safetensors
printf 'person\ncar\n' >"$names"
refused 2 'has 2 names, and the model has 5' convert "$detector" -o x.safetensors --labels "$names"
printf 'a\nb\n\nd\ne\n' >"$names"
refused 1 'line 3 is empty' convert "$detector" -o x.safetensors --labels "$names"
printf 'a\nb\nc\na\ne\n' >"$names"
refused 1 'line 4 repeats the name "a"' convert "$detector" -o x.safetensors --labels "$names"
printf 'a\nb\nc\n\001\ne\n' >"$names"
refused 1 'line 4 is no name' convert "$detector" -o x.safetensors --labels "$names"
refused 1 'no-such' convert "$detector" -o x.safetensors --labels no-such.txt
refused 2 'has no classes' convert good.safetensors -o x.safetensors --labels "$names"
finish
