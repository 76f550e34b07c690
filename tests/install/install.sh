#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs into an empty folder, as a packager does, and builds and runs the examples against that.
# BUILD, PREFIX, ROOT: where; MAKER makes models and pictures. The arguments are the compiler and what it needs.
set -euo pipefail

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
DESTDIR=$stage meson install -C "$BUILD" --no-rebuild --quiet

for path in bin/softlens include/softlens.h libsoftlens.so libsoftlens.so.0.2 libsoftlens.a \
    pkgconfig/softlens.pc man1/softlens.1 models/lmd-vit-base.safetensors models/lmd-vit-small.safetensors models/soft-small.safetensors models/retina-soft-cells.safetensors models/retina-soft-small.safetensors \
    softlens/LICENSE softlens/DejaVuSans-LICENSE.txt softlens/README.md completions/softlens site-functions/_softlens; do
    if [ -z "$(find "$stage$PREFIX" -path "*/$path")" ]; then
        echo "not installed: $path" >&2
        exit 1
    fi
done
if [ "$(find "$stage" -name '*.h' | wc -l)" -ne 1 ]; then
    echo "softlens.h is the one header to install" >&2
    exit 1
fi
if grep -rlF "$ROOT/models" "$stage"; then
    echo "what is installed tells where it was built" >&2
    exit 1
fi

library=$(find "$stage" -name libsoftlens.so.0.2)
if [ -L "$library" ]; then
    echo "libsoftlens.so.0.2 leads to $(readlink "$library"), which the next ABI's would replace" >&2
    exit 1
fi
LD_LIBRARY_PATH=$(dirname "$library")
PKG_CONFIG_PATH=$LD_LIBRARY_PATH/pkgconfig
export LD_LIBRARY_PATH PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR=$stage
read -r -a flags <<<"$(pkg-config --cflags --libs softlens)"
"$@" "$ROOT/examples/deblur.c" -o "$stage/deblur" "${flags[@]}"
"$ROOT/tests/install/example.sh" "$stage/deblur" "$stage$PREFIX/bin/softlens"
"$@" "$ROOT/examples/classify.c" -o "$stage/classify" "${flags[@]}"
"$ROOT/tests/install/classify.sh" "$stage/classify" "$stage$PREFIX/bin/softlens"
"$@" "$ROOT/examples/detect.c" -o "$stage/detect" "${flags[@]}"
"$ROOT/tests/install/detect.sh" "$stage/detect" "$stage$PREFIX/bin/softlens"
