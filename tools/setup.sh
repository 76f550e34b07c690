#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing to build softlens (no argument), to test it (--test), to run all of its
# checks (--ci), or to compare it and make golden tensors with PyTorch (--bench). Debian and Ubuntu,
# through apt-get; elsewhere it says what is needed.
set -euo pipefail

build=(gcc libc6-dev meson ninja-build pkg-config
       glslang-tools libfontconfig-dev libfreetype-dev libharfbuzz-dev libheif-dev libjansson-dev libjpeg-dev
       liblcms2-dev libpng-dev libraqm-dev libtiff-dev libvulkan-dev libwebp-dev libzip-dev nettle-dev
       zlib1g-dev)
tests=(check fonts-lohit-deva g++ mesa-vulkan-drivers python3-jsonschema python3-yaml
       vulkan-validationlayers)
checks=(binutils chromium clang clang-format libclang-rt-dev mandoc munge parallel shellcheck
        slurm-wlm time)
bench=(libjemalloc2 libopenblas0-openmp libopenblas-dev python3-numpy python3-pil python3-skimage
       python3-torch)

case "${1-}" in
"") packages=("${build[@]}") ;;
--test) packages=("${build[@]}" "${tests[@]}") ;;
--ci) packages=("${build[@]}" "${tests[@]}" "${checks[@]}") ;;
--bench) packages=("${build[@]}" "${bench[@]}") ;;
*)
    echo "usage: tools/setup.sh [--test | --ci | --bench]" >&2
    exit 2
    ;;
esac

# Without dpkg: whether the compiler, the build tools and the libraries answer by themselves. Vulkan
# is left out of the build where it is missing.
is_usable() {
    local tool
    for tool in cc meson ninja pkg-config; do
        command -v "$tool" >/dev/null || return 1
    done
    pkg-config --exists freetype2 harfbuzz jansson libjpeg lcms2 libpng libwebp libwebpdemux \
        libzip nettle raqm zlib ||
        return 1
    [ "${1-}" = "" ] || pkg-config --exists check || [ "$1" = --bench ]
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    if is_usable "${1-}"; then
        exit 0
    fi
    echo "setup: this is not Debian or Ubuntu; please install by hand: a C17 compiler, meson 1.0," \
        "ninja, pkg-config, and the development files of FreeType, HarfBuzz, jansson, lcms2," \
        "libjpeg-turbo, libpng, libraqm, libwebp, libzip, nettle and zlib; for labels in more" \
        "scripts those of fontconfig; for TIFF those of libtiff 4.5; for HEIC and AVIF those of" \
        "libheif; for Vulkan its headers and glslangValidator; for the tests also Check," \
        "Python's jsonschema and PyYAML, a Vulkan driver such as lavapipe, and the validation" \
        "layers; for all checks clang with its" \
        "sanitizer runtime, clang-format, mandoc and shellcheck." >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null || true)
    [[ " $state" == *" installed "* ]] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: missing: ${missing[*]}. As root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "setup: installing ${missing[*]}"
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" \
        </dev/null >/dev/null
}
apt update
apt install -y --no-install-recommends "${missing[@]}"
