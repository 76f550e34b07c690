# SPDX-License-Identifier: MIT
# tests/app/devices.bash: what could compute, with Vulkan devices, without any, and by name.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make picture a.png 64x64
export SOFTLENS_MODELS="$work/m.safetensors" XDG_CACHE_HOME="$outside/cache"

accepted devices
says '^cpu:$'
says '^  chosen by auto: yes$'
check 'the processor comes first' test "$(head -n 1 "$outside/out")" = cpu:
accepted devices --json
says '"device": "cpu"'
says '"threads": [0-9]'
accepted devices --quiet
check '--quiet prints nothing' test ! -s "$outside/out"
refused 2 'takes no names' devices vulkan:0
refused 2 'unknown option --all' devices --all
refused 2 'unknown device "abacus"; the devices are: auto, cpu' run m.safetensors --input x.npy \
    --output-dir out --device abacus
refused 2 'unknown device "abacus"' bench --device abacus
refused 2 'unknown device "abacus"' deblur a.png --json --device abacus # no answer about a picture

"$SOFTLENS" devices >"$outside/devices"
name=$(sed -nE 's/^(vulkan:[0-9]+):$/\1/p' "$outside/devices" | head -n 1)
if [ -n "$name" ] && ! grep -q '^  usable: *no$' "$outside/devices"; then
    accepted devices
    says '^  limits:$'
    says '^    buffer range: +[0-9.]+ MiB$'
    uuid=$(sed -nE 's/^  uuid: *([0-9a-f]{32})$/\1/p' "$outside/out" | head -n 1)
    for device in "$name" "$uuid" vulkan; do
        accepted deblur a.png --device "$device" --overwrite
        says ', vulkan:[0-9]+ \('
        check "$device: a picture of the same size" "$MAKER" is-picture a.deblurred.png 64x64
        rm -f a.deblurred.png
    done
    accepted deblur a.png --device "$name" --json
    says '"fell_back":false'
    rm -f a.deblurred.png
    accepted bench --device vulkan --size 64x64 --repeats 1 --json
    says '"device": "vulkan:[0-9]+ \('
    says '"precision": "f32"'
    says '"peak": \{'
    says '"share_of_peak": [0-9.]+'
    if grep -q '^  f16: *yes$' "$outside/devices"; then
        accepted deblur a.png --device "$name" --precision f16 --json
        says '"device":"vulkan:[0-9]+ \(.*f16\)".*"precision":"f16"'
        rm -f a.deblurred.png
        accepted bench --device "$name" --precision f16 --size 64x64 --repeats 1 --json
        says '"precision": "f16"'
    fi
    check 'compiled kernels are kept' compgen -G "$outside/cache/softlens/vulkan-*.pipelines"
    accepted devices
    says '^  self test: +passed$'
    verdict=$(compgen -G "$outside/cache/softlens/vulkan-*.verdict" | head -n 1)
    check 'the verdict is kept' test -s "$verdict"
    for spoilt in "$outside"/cache/softlens/vulkan-*.verdict; do
        echo 'passed' >"$spoilt"
    done
    accepted devices
    says '^  self test: +(not yet tested|passed)$'
    accepted deblur a.png --device "$name" --overwrite
    rm -f a.deblurred.png
    check 'a spoilt verdict is made anew' test "$(head -c 6 "$verdict")" != passed
    refused 2 'unknown device "vulkan:99"; the Vulkan devices are: vulkan:0 ' deblur a.png \
        --device vulkan:99
fi

# The processor in bf16, where it multiplies so
if grep -q '^  bf16: *yes$' "$outside/devices"; then
    accepted deblur a.png --device cpu --precision bf16 --json
    says '"device":"cpu \(avx512, bf16, .*"precision":"bf16"'
    rm -f a.deblurred.png
    accepted bench --device cpu --precision bf16 --size 64x64 --repeats 1 --json
    says '"precision": "bf16"'
else
    refused 2 'the cpu: bf16 needs AVX-512 BF16' deblur a.png --device cpu --precision bf16
fi

# No driver, or no Vulkan at all
unset VK_INSTANCE_LAYERS # a layer may answer in a driver's place
export VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent
accepted devices
says '^no vulkan: .+$'
check 'one device' test "$(grep -c '^[a-z]*:[0-9]*:*$' "$outside/out")" = 1
accepted devices --json
says '"no_vulkan": ".+"'
for device in vulkan vulkan:0 0123456789abcdef0123456789abcdef; do
    refused 2 "no device \"$device\": .+; compute on the cpu" deblur a.png --device "$device"
done
refused 2 'the devices are: auto, cpu \(.+\)' deblur a.png --device abacus
accepted deblur a.png --device auto
finish
