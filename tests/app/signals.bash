# SPDX-License-Identifier: MIT
# tests/app/signals.bash: an interrupted run leaves whole files or none.
#
# An image that comes through a pipe holds the program still until we have sent the signal.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make picture a.png 200x150
make picture b.png 200x150
export SOFTLENS_MODELS="$work/m.safetensors"
mkfifo held

# Starts the program; returns once it waits for the pipe, which is then open here as number 3.
start() # ARGUMENTS...
{
    env --default-signal=INT,TERM "$SOFTLENS" "$@" >"$outside/out" 2>"$outside/err" </dev/null &
    pid=$!
    exec 3>held
}

# Lets the picture through, and waits for the end.
let_go()
{
    cat a.png >&3
    exec 3>&-
    wait "$pid"
    status=$?
}

for signal in INT TERM; do
    before=$(snapshot)
    start deblur held -o out.png --heat heat.png
    kill -"$signal" "$pid"
    let_go
    check "SIG$signal: status 130" test "$status" = 130
    check '  a line' one_line
    check '  no file' test "$before" = "$(snapshot)"
done

start deblur a.png held b.png -o out/
kill -INT "$pid"
let_go
check 'a batch: status 130' test "$status" = 130
check '  what was done stays whole' "$MAKER" is-picture out/a.deblurred.png 200x150
check '  nothing else is there' test "$(ls -A out)" = a.deblurred.png
rm -r out

start deblur held -o out.png
let_go
check 'without a signal the same is done' test "$status" = 0 -a -f out.png
rm out.png

before=$(snapshot)
start deblur held -o out.png
kill -TERM "$pid"
sleep 0.2
kill -TERM "$pid"
wait "$pid" 2>/dev/null
status=$?
exec 3>&-
check 'the second signal ends it at once' test "$status" = 143
check '  no file' test "$before" = "$(snapshot)"

# At any moment: a whole file and status 0, or none and 130. In the foreground `timeout` signals the
# program alone, else its group as well: a second signal.
make picture large.png 700x700
for delay in 0.05 0.1 0.2 0.4; do
    timeout --foreground --preserve-status -s INT "$delay" "$SOFTLENS" deblur large.png -o out.png --dense \
        --tile 128 >"$outside/out" 2>"$outside/err"
    status=$?
    case $status in
        0) check "after $delay s: done" "$MAKER" is-picture out.png 700x700 ;;
        # Before the program listens, the signal ends it as any other.
        130) check "after $delay s: nothing is left" test -z "$(find . -name '*out*')" ;;
        *) check "after $delay s: status $status" false ;;
    esac
    rm -f out.png
done
finish
