# SPDX-License-Identifier: MIT
# tests/app/inputs.bash: pictures and tensors that are none, or damaged, or too large.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make picture good.png 120x90
make picture good.jpg 120x90
make npy x.npy 64x48

flip() # FILE OFFSET: another value for one byte
{
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1")
    printf '%b' "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

bad() # PATTERN FILE: refused beside itself, and into another name
{
    refused 1 "$1" deblur "$2" --model m.safetensors
    refused 1 "$1" deblur --model m.safetensors -o out.png --heat heat.png -- "$2"
}

mkdir folder
: >empty.png
echo 'This is a text, no picture at all, whatever its name says.' >text.png
make header zero.png 0x10
make header flat.png 10x0
make header huge.png 100000x100000
cp good.png crc.png
flip crc.png 30 # in the checksum of IHDR
cp good.png idat.png
flip idat.png "$(($(wc -c <good.png) / 2))"

refused 1 'No such file' deblur missing.png --model m.safetensors
refused 1 'is a directory' deblur folder --model m.safetensors
refused 1 'is a directory' deblur folder/ --model m.safetensors
bad 'empty\.png' empty.png
bad 'text\.png' text.png
bad 'zero\.png' zero.png
bad 'flat\.png' flat.png
bad 'huge\.png' huge.png
bad 'crc\.png' crc.png
bad 'idat\.png' idat.png
size=$(wc -c <good.png)
for at in 4 8 20 33 45 $((size / 3)) $((size / 2)) $((size - 20)) $((size - 13)); do
    head -c "$at" good.png >cut.png
    refused 1 'cut\.png' deblur cut.png --model m.safetensors
done
size=$(wc -c <good.jpg)
for at in 2 3 20 100 300 $((size / 2)) $((size - 40)); do
    head -c "$at" good.jpg >cut.jpg
    refused 1 'cut\.jpg' deblur cut.jpg --model m.safetensors
done
head -c $((size / 2)) good.jpg >cut.jpg
refused 1 'if truncated ones are allowed \(--allow-truncated\)$' deblur cut.jpg --model m.safetensors
run deblur cut.jpg --model m.safetensors --allow-truncated
check 'half a JPEG, if we insist' test "$status" = 0 -a -f cut.deblurred.jpg
rm cut.deblurred.jpg
refused 1 'good\.png' deblur good.png --model m.safetensors --max-pixels 10799
refused 1 'm\.safetensors' deblur m.safetensors --model m.safetensors

# The others of a batch are done all the same.
run deblur text.png good.png zero.png --model m.safetensors
check 'a batch goes on: status 3' test "$status" = 3
check '  good.png is done' "$MAKER" is-picture good.deblurred.png 120x90
check '  the others are not' test ! -e text.deblurred.png -a ! -e zero.deblurred.png
check '  a line for each' test "$(wc -l <"$outside/err")" = 2

# Standard input
"$SOFTLENS" deblur - --model m.safetensors -o piped.png --heat heat.png <good.png \
    >"$outside/out" 2>"$outside/err"
check 'a piped picture' test $? = 0
check '  as the file' cmp piped.png good.deblurred.png
check '  with its heat map' "$MAKER" is-picture heat.png 120x90
refused 2 'name the result with -o' deblur - --model m.safetensors
refused 2 'named twice' deblur - - --model m.safetensors -o out.png
"$SOFTLENS" deblur - --model m.safetensors -o - <good.png >"$outside/through" 2>"$outside/err"
check 'from pipe to pipe' test $? = 0
check '  as the file' cmp "$outside/through" good.deblurred.png
check '  and nothing else' test ! -s "$outside/err"
"$SOFTLENS" deblur - --model m.safetensors -o - <good.png 2>"$outside/err" | head -c 9 >"$outside/out"
check 'a reader that leaves' test "${PIPESTATUS[0]}" = 0 -a ! -s "$outside/err"
if [ -w /dev/full ]; then
    "$SOFTLENS" deblur good.png --model m.safetensors -o - >/dev/full 2>"$outside/err"
    check 'standard output is full: status 1' test $? = 1
    check '  a line' one_line
    "$SOFTLENS" deblur good.png --model m.safetensors -o - --heat h.png >/dev/full 2>"$outside/err"
    check 'and nothing stays beside what is lost' test $? = 1 -a ! -e h.png
fi
"$SOFTLENS" deblur good.png --model m.safetensors -o - --heat h.png 2>"$outside/err" | head -c 9 >"$outside/out"
check 'what a reader left has its heat map' test "${PIPESTATUS[0]}" = 0 -a -s h.png
rm h.png
if [ -w /dev/full ]; then
    cp good.png second.png
    "$SOFTLENS" deblur good.png second.png --model m.safetensors -o full/ >/dev/full 2>"$outside/err"
    check 'pictures in files stay' test $? = 1 -a -s full/good.deblurred.png -a -s full/second.deblurred.png
    rm -r full second.png
fi
refused 2 'both want standard output' deblur good.png --model m.safetensors -o - --json
refused 2 'several images' deblur good.png good.png --model m.safetensors -o -
refused 2 'not written to standard output' deblur good.png --model m.safetensors --heat -
refused 1 'standard input: empty file' deblur - --model m.safetensors -o out.png

# Tensors
refused 1 'missing\.npy' run m.safetensors --input missing.npy --output-dir ran
refused 1 'text\.png' run m.safetensors --input text.png --output-dir ran
head -c 200 x.npy >cut.npy
refused 1 'cut\.npy' run m.safetensors --input cut.npy --output-dir ran
refused 1 '.' run m.safetensors --input x.npy --output-dir text.png
finish
