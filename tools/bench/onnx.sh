#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Times softlens beside ONNX Runtime on this machine and writes the table into README.md.
# ONNX Runtime comes from npm into build/onnxruntime; nothing of it runs while it is installed.
# Takes some minutes of a quiet machine, and four GiB for exporting the published network.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=1.30.0
"$root/tools/setup.sh" --bench
"$root/tools/build.sh"
command -v npm >/dev/null || {
    echo "onnx.sh: npm is missing; Node.js 16 or newer brings it (Debian: apt-get install npm)" >&2
    exit 1
}
peer=$root/build/onnxruntime
npm install --prefix "$peer" --ignore-scripts --no-audit --no-fund --silent \
    "onnxruntime-node@$version"
exec /usr/bin/python3 "$root/tools/bench/onnx_peers.py" "$root" \
    "$peer/node_modules/onnxruntime-node" "$root/README.md"
