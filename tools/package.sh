#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes an archive that runs where it is unpacked, without installing anything: the program, its
# models, its manual and completions, and every library that it needs but the C library. Argument:
# the folder that it is written to (the current one). Made on Debian 12 it runs on any Linux for the
# same processors with glibc 2.36 or newer. A Vulkan loader is taken from the system if there is one.
set -euo pipefail

out=$(realpath "${1-.}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/build.log
version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" "$root/meson.build")
name=softlens-$version-linux-$(uname -m)
tree=$scratch/$name

[ -d "$out" ] || {
    echo "package: $out is no folder" >&2
    exit 1
}
command -v dpkg-query >/dev/null || {
    echo "package: the libraries' licences are taken from Debian; please make it there" >&2
    exit 1
}
"$root/tools/setup.sh"

# DT_RPATH, not DT_RUNPATH: it counts for the libraries of libraries, too. Without fontconfig, which
# would read settings of another version of itself.
build() {
    # shellcheck disable=SC2016 # $ORIGIN is for the loader of the program
    meson setup "$scratch/build" "$root" --prefix=/ --libdir=lib -Dtests=false -Dopenblas=disabled \
        -Dfontconfig=disabled -Ddefault_library=static -Dstrip=true \
        -Dc_link_args='-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib' &&
        DESTDIR=$tree meson install -C "$scratch/build"
}
build >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "package: the build failed" >&2
    exit 1
}
rm -r "${tree:?}/include" "${tree:?}/lib"

# The libraries, each with its licence as Debian states it. Those of glibc belong to the system. Debian
# lists a file by either of its names, /lib/... or /usr/lib/...
licences=$tree/share/doc/softlens/libraries
mkdir -p "$tree/lib" "$licences"
ldd "$tree/bin/softlens" | sed -n 's/.* => \(\/[^ ]*\).*/\1/p' | while read -r library; do
    package=$(dpkg-query -S "$library" "/usr$library" 2>/dev/null | sed 's/:.*//;q') || true
    [ "$package" != libc6 ] || continue
    cp -L "$library" "$tree/lib"
    cp -L "/usr/share/doc/$package/copyright" "$licences/$package"
done
grep -ohE '/usr/share/common-licenses/[A-Za-z0-9.+-]*[A-Za-z0-9]' "$licences"/* | sort -u |
    xargs cp -Lt "$licences"

# Nothing but glibc may come from elsewhere, and it works.
strangers=$(env -i LC_ALL=C ldd "$tree/bin/softlens" |
    sed -n "s,.* => ,,; \,^$tree/, d; s/ (0x.*//; s/^[[:space:]]*//p" |
    grep -vE '^linux-vdso|/(libc|libm|ld-linux[^/]*)\.so\.[0-9]+$' || true)
[ -z "$strangers" ] || {
    echo "package: not in the archive: $strangers" >&2
    exit 1
}
env -i "$tree/bin/softlens" deblur "$root/data/sample.jpg" -o "$scratch/sample.jpg" --device cpu --quiet
env -i "$tree/bin/softlens" classify "$root/data/cat.jpg" --device cpu >"$scratch/answer"

# The same tree gives the same archive.
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/meson.build")}
tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -czf "$scratch/$name.tar.gz" "$name"
mv "$scratch/$name.tar.gz" "$out/"
echo "$out/$name.tar.gz: $(du -k "$out/$name.tar.gz" | cut -f 1) KiB, $(find "$tree/lib" -type f | wc -l) libraries;" \
    "unpack it anywhere and call $name/bin/softlens"
