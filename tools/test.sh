#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds softlens with its tests in build/ and runs them. Arguments go to meson test, such as the
# name of one suite: tools/test.sh image-png. The last line counts; not 0 when something failed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/build.sh" --test
exec "$root/tools/run_tests.sh" "$root/build" "$@"
