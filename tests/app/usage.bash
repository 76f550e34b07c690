# SPDX-License-Identifier: MIT
# tests/app/usage.bash: command lines: help, mistakes, numbers.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
commands=$("$SOFTLENS" --list-options | grep -v -e '^-' -e '^help$')
check 'there are commands' test "$(wc -w <<<"$commands")" -gt 10
make picture a.png 64x64
make picture b.png 64x64
make model m.safetensors good

# Help
accepted --help
says 'Usage: softlens COMMAND'
check '--help fits 80 columns' test "$(wc -L <"$outside/out")" -le 80
accepted -h
accepted help
accepted --version
says '^softlens [0-9]+\.[0-9]+\.[0-9]+$'
for command in $commands; do
    accepted "$command" --help
    says "^  softlens $command "
    cp "$outside/out" "$outside/help"
    accepted help "$command"
    check "help $command is $command --help" cmp -s "$outside/out" "$outside/help"
    accepted "$command" -h
    check "$command --help fits 80 columns" test "$(wc -L <"$outside/out")" -le 80
    refused 2 'did you mean --help' "$command" --hlep
done
accepted deblur no-such-file --help

# Commands
refused 2 'name a command'
refused 2 'did you mean softlens deblur' deblr a.png
refused 2 'did you mean softlens bench' bnech
refused 2 'unknown command "sharpen"; see' sharpen a.png
refused 2 'unknown command "deblur2x"' help deblur2x
for word in --help -h help; do
    accepted help "$word"
    says '^Usage: softlens'
done
refused 2 'did you mean --version' --versoin
refused 2 'options follow a command' --json deblur a.png
refused 2 'unknown command' ''

# Options
refused 2 'did you mean --threads' deblur --treads 2 a.png
refused 2 'did you mean --json' info --jsn m.safetensors
refused 2 'unknown option --frobnicate;' deblur --frobnicate a.png
refused 2 '--t may mean --tta or --threads' deblur --t 2 a.png
refused 2 'unknown option -x; see' deblur -x a.png
cp a.png ./-name.png
touch deblur
refused 2 'unknown option -n; put names that begin with - after --' deblur a.png -name.png
rm ./-name.png
refused 2 'unknown option -n; see' deblur -name.png
rm deblur
refused 2 'unknown option; put names' deblur $'-\xc3\xa9.png'
refused 2 '--json takes no value' deblur --json=yes a.png
refused 2 '--threads needs a value' deblur a.png --threads
refused 2 '--output needs a value' deblur a.png -o
refused 2 '--output: ""' deblur a.png -o ''
refused 2 'contradict' deblur --quiet --verbose a.png
refused 2 'flip' deblur --tta sideways a.png
refused 2 '16' deblur --shrink 17 a.png
refused 2 'shrink' deblur --shrink 1.5 a.png
refused 2 'contradict' deblur --dense --keep-threshold 0.5 a.png
refused 2 'contradict' bench --dense --keep-share 0.5 m.safetensors
refused 2 'unknown option --half' deblur --half a.png
refused 2 'needs IMAGE' deblur
refused 2 'needs IMAGE' deblur --
refused 2 'needs MODEL' info
refused 2 'takes one MODEL' info m.safetensors m.safetensors
refused 2 'takes at most \[MODEL\]' bench m.safetensors m.safetensors
refused 2 'takes no names' devices cpu
refused 2 'needs IMAGE.FOLDER' classify
refused 2 'needs GALLERY LABEL IMAGE' enroll
refused 2 'needs GALLERY LABEL IMAGE' enroll my.gallery raccoon
refused 2 'contradict' classify a.png --json --csv
refused 2 'contradict' classify a.png --jsonl --json
refused 2 'contradict' classify a.png --no-unknown --unknown-rate 0.1
refused 2 'is named twice' classify - a.png -
refused 2 'is named twice' enroll my.gallery raccoon - -
refused 2 'needs --output' convert m.safetensors
refused 2 'needs FILE' gallery
refused 2 'gallery does not know "lst"' gallery my.gallery lst
refused 2 'give gallery FILE rename OLD NEW' gallery my.gallery rename a
refused 2 'give gallery FILE list' gallery my.gallery list a
refused 2 'at most FILE' gallery my.gallery rename a b c
refused 2 'needs --classes N and --dim D' ebv --classes 8 -o t.safetensors
refused 2 'needs --classes N and --dim D' ebv --dim 8 -o t.safetensors
refused 2 'needs --output' ebv --classes 8 --dim 4
refused 2 'output -: results are not written' ebv --classes 8 --dim 4 -o -
refused 2 'output -: results are not written' convert m.safetensors -o -
refused 2 'needs --input' run m.safetensors
refused 2 'needs --input' run m.safetensors --input x.npy

# Values
for value in 0 101 -1 +5 ' 5' '5 ' 5.0 1e1 0x10 99999999999999999999 ninety ''; do
    refused 2 '--quality: .* whole number from 1 to 100' deblur a.png --quality "$value"
done
for value in 0 257 2x; do
    refused 2 '--threads: .* from 1 to 256' deblur a.png --threads "$value"
done
for value in 0 1 1.0 1.5 -0.5 .5. nan inf 1e-3 0x0.8 0.99999999999 0,5 . ''; do
    refused 2 '--keep-threshold: .* above 0 and below 1' deblur a.png --keep-threshold "$value"
done
for value in 0 1.01 half; do
    refused 2 '--keep-share: .* above 0 and at most 1' bench m.safetensors --keep-share "$value"
done
for value in 0 1 -0.1 5% nan ''; do
    refused 2 '--unknown-rate: .* above 0 and below 1' classify a.png --unknown-rate "$value"
done
for value in 0 -1 five 1000001; do
    refused 2 '--top: .* whole number' classify a.png --top "$value"
done
for value in 1e3 2GB 2g G -1G 0 100K 1.5G 18446744073709551616 17179869184G '' 2GG; do
    refused 2 '--memory: .* such as 512M or 2G' deblur a.png --memory "$value"
done
for value in 0 -3 16.5 1000000; do
    refused 2 '--tile: .* whole number' deblur a.png --tile "$value"
done
for value in 512 x512 512x 512x512x3 0x5 512X512 -1x5 99999x1 ''; do
    refused 2 '--size: .* such as 1024x768' info m.safetensors --size "$value"
done
refused 2 '--device: "" ' deblur a.png --device ''
for value in gpu 'auto|cpu' CPU cpu0 vulkano 0123; do
    refused 2 'unknown device .*; the devices are: auto, cpu' deblur a.png --model m.safetensors \
        --device "$value"
done
refused 2 '--format: "webp"' deblur a.png --format webp
refused 2 '--simd: "sse"' bench m.safetensors --simd sse
refused 2 '--precision: "f64" is not understood; give one of f32.f16.bf16' bench --precision f64
export SOFTLENS_MODELS="$work/m.safetensors"
make npy x.npy 32x32
for command in 'deblur a.png' 'run m.safetensors --input x.npy --output-dir out' bench; do
    # shellcheck disable=SC2086
    refused 2 'the cpu: f16 is for Vulkan devices; ' $command --device cpu --precision f16
done
refused 2 '--max-pixels' deblur a.png --max-pixels 0

# Whatever bytes a name holds, an error is one line of text.
refused 1 'no.such.\?\[31mfile' deblur $'no\nsuch\r\e[31mfile'
finish
