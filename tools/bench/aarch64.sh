#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds softlens for aarch64 and runs it and its suites under emulation (qemu-user): whether it is
# right there, not how fast. DIR keeps Debian's arm64 libraries and the build. As root, on Debian 12.
# Usage: tools/bench/aarch64.sh DIR [SUITE...]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ $# -lt 1 ]; then
    echo "usage: $0 DIR [SUITE...]" >&2
    exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
suites=("$@")
[ $# -gt 0 ] || suites=(base-{ctx,file,memory,number,output,pool,utf8} image-{png,jpeg,orient}
                        cpu-{linear,attention,conv,block,soft,predict,dwconv,softmax,tokens})
"$root/tools/setup.sh"
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    debootstrap gcc-aarch64-linux-gnu qemu-user >/dev/null
if [ ! -e "$dir/unpacked" ]; then
    debootstrap --foreign --arch arm64 --variant=minbase --include=check,libc6-dev,libfontconfig-dev,libfreetype-dev,libharfbuzz-dev,libjansson-dev,libjpeg62-turbo-dev,liblcms2-dev,libpng-dev,libraqm-dev,libwebp-dev,libzip-dev,nettle-dev,zlib1g-dev \
        bookworm "$dir/tree" >"$dir/debootstrap.log"
    for package in "$dir"/tree/var/cache/apt/archives/*.deb; do
        dpkg -x "$package" "$dir/tree"
    done
    touch "$dir/unpacked"
fi
cat >"$dir/cross.ini" <<END
[binaries]
c = 'aarch64-linux-gnu-gcc'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', '$dir/tree']
[properties]
sys_root = '$dir/tree'
pkg_config_libdir = '$dir/tree/usr/lib/aarch64-linux-gnu/pkgconfig'
[built-in options]
c_args = ['--sysroot=$dir/tree']
c_link_args = ['--sysroot=$dir/tree']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END
[ -e "$dir/build/build.ninja" ] ||
    meson setup "$dir/build" "$root" --cross-file "$dir/cross.ini" -Dwerror=true -Dvulkan=disabled
ninja -C "$dir/build"
meson test -C "$dir/build" --no-rebuild --timeout-multiplier 40 "${suites[@]}"
qemu-aarch64 -L "$dir/tree" "$dir/build/softlens" deblur "$root/data/sample.jpg" --overwrite \
    --model "$root/models/lmd-vit-small.safetensors" -o "$dir/sample.png"
