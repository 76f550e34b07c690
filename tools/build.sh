#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing and builds build/softlens; with --test also all that the tests need.
# Says little when all goes well; the log is in build/build.log.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
log=$build/build.log
"$root/tools/setup.sh" "$@"

if [ "${1-}" = --test ]; then
    options=(-Dtests=true)
    targets=(all)
else
    options=(-Dtests=false)
    targets=(softlens)
fi

mkdir -p "$build"
configure() {
    if [ ! -f "$build/build.ninja" ]; then
        meson setup "$build" "$root" "${options[@]}"
    elif [ "${1-}" = --test ] && ! grep -q '"name": "tests", "value": true' \
        "$build/meson-info/intro-buildoptions.json"; then
        meson configure "$build" "${options[@]}"
    fi
}
run() {
    configure "${1-}" && ninja -C "$build" "${targets[@]}"
}

[ -x "$build/softlens" ] || echo "Building softlens in $build ..." >&2
if ! run "${1-}" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "build: failed; the whole log is in $log" >&2
    exit 1
fi
