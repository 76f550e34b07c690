#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Packs what gpu.sh runs, for a machine that has a graphics card and PyTorch but neither a compiler
# nor a network: the program, the products' bench, the Vulkan suites, the libraries of all, Vulkan's
# loader and validation layer.
#     tools/bench/gpu_bundle.sh FILE.tar.xz       here; then there, in a copy of the sources:
#     tar -xJf FILE.tar.xz && tools/bench/gpu.sh
set -euo pipefail

file=${1:?usage: gpu_bundle.sh FILE.tar.xz}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tools/build.sh" --test
ninja -C "$root/build" tools/bench/gemm-gpu >/dev/null
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bundle=$scratch/build/bundle
mkdir -p "$bundle/lib" "$bundle/suites" "$bundle/layer" "$scratch/build/tools/bench"
echo "$root" >"$bundle/root"      # the suites know where their data lie

cp "$root/build/softlens" "$scratch/build/"
cp "$root/build/tools/bench/gemm-gpu" "$scratch/build/tools/bench/"
python3 - "$root/build/meson-info/intro-tests.json" "$bundle/suites.json" <<'END'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    tests = [{"name": t["name"], "program": t["cmd"][0], "env": t["env"]} for t in json.load(file)
             if any("vulkan" in suite for suite in t["suite"]) and "/tests/" in t["cmd"][0]]
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(tests, file, indent=1)
END
sed -n 's/^ *"program": "\(.*\)",$/\1/p' "$bundle/suites.json" | sort -u | xargs cp -t "$bundle/suites"
strip "$scratch/build/softlens" "$scratch/build/tools/bench/gemm-gpu" "$bundle"/suites/*

# Of the C library the other machine's own is taken.
ldd "$scratch/build/softlens" "$bundle"/suites/* | awk '/=> \// {print $3}' | sort -u |
    grep -vE '/(lib(c|m|dl|rt|pthread)|ld-linux.*)\.so' | xargs cp -Lt "$bundle/lib"
vulkan=$(ldconfig -p | awk '/libvulkan\.so\.1 / && !seen++ {print $NF}')
[ -z "$vulkan" ] || cp -L "$vulkan" "$bundle/lib/"
layer=/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json
if [ -n "$vulkan" ] && [ -f "$layer" ]; then
    cp "$layer" "$bundle/layer/"
    cp -L "$(dirname "$vulkan")/libVkLayer_khronos_validation.so" "$bundle/lib/"
fi
tar -C "$scratch" -cJf "$file" build
echo "$file: $(($(stat -c %s "$file") >> 20)) MiB"
