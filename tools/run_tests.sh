#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the tests of a build directory that is up to date, and counts their results as Meson
# recorded them. Arguments: the directory, then what goes to meson test.
set -uo pipefail

build=$1
shift
log=$build/meson-logs/testlog.json
rm -f "$log"
# Meson would have the C library fill all memory with a pattern, the driver's and the decoders' too,
# which makes some suites take five times as long; the checks have address sanitizer do it.
export MALLOC_PERTURB_=${MALLOC_PERTURB_:-0}
meson test -C "$build" --no-rebuild --print-errorlogs --num-processes $(($(nproc) + 1)) "$@"
status=$?

# One JSON object a line; quotes inside of captured output are escaped and so never match.
count() {
    [ -f "$log" ] || {
        echo 0
        return
    }
    grep -cE "\"result\": \"($1)\"" "$log" || true
}
passed=$(count 'OK|EXPECTEDFAIL')
skipped=$(count 'SKIP|IGNORED')
failed=$(count 'FAIL|TIMEOUT|INTERRUPT|ERROR|UNEXPECTEDPASS')
if [ $((passed + failed)) -eq 0 ]; then
    echo "run_tests: no test ran" >&2
    status=1
elif [ "$failed" -gt 0 ]; then
    status=1
fi
[ "$skipped" -eq 0 ] && skipped= || skipped=", $skipped skipped"
echo "$passed passed, $failed failed$skipped"
exit "$status"
