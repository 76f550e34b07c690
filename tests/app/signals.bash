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

# Waits until the program listens to signals.
listens()
{
    until grep -q softlens "/proc/$pid/comm" &&
        grep -q '^SigCgt:.*[4-7c-f][0-9a-f]\{3\}$' "/proc/$pid/status"; do
        sleep 0.05
    done
}

# Waits for the end, which is near.
ends()
{
    timeout 10 tail --pid="$pid" -s 0.05 -f /dev/null || kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    status=$?
}

# Starts it with the pipe as standard input, and asks it to end once it reads.
ended() # ARGUMENTS...
{
    env --default-signal=TERM "$SOFTLENS" "$@" >"$outside/out" 2>"$outside/err" <held &
    pid=$!
    listens
    sleep 0.2
    kill -TERM "$pid"
    ends
}

# Standard input that says nothing, or a part, and then nothing more.
make soft soft.safetensors good
retina=$ROOT/tests/data/golden/retina-plain.safetensors
printf 'a.png\0b' >names
before=$(snapshot)
for part in 0 7; do
    for arguments in 'deblur - -o out.png' "detect - -o out.png --model $retina" \
        'classify - --model soft.safetensors' 'classify - --model soft.safetensors --threads 1' \
        'enroll new.gallery it - --model soft.safetensors' 'batch deblur --files0-from - -o out/'; do
        exec 3<>held
        file=a.png
        [[ $arguments != batch* ]] || file=names
        head -c $part $file >&3
        # shellcheck disable=SC2086
        ended $arguments
        check "${arguments%% *}, $part bytes in a pipe: status 130" test "$status" = 130
        check '  a line' one_line
        check '  no file' test "$before" = "$(snapshot)"
        exec 3>&-
    done
done

# One that goes on and on
exec 3<>held
while printf x; do sleep 0.01; done >held 2>/dev/null &
writer=$!
for arguments in 'deblur - -o out.png' 'classify - --model soft.safetensors'; do
    # shellcheck disable=SC2086
    ended $arguments
    check "${arguments%% *}, a pipe that does not end: status 130" test "$status" = 130
    check '  a line' one_line
done
kill "$writer"
wait "$writer" 2>/dev/null
exec 3>&-

# Ctrl-C reaches a script as well, which then ends only if the program died of it.
# shellcheck disable=SC2016
setsid env --default-signal=INT bash -c '"$0" deblur held -o out.png; echo went on' "$SOFTLENS" \
    >"$outside/out" 2>"$outside/err" </dev/null &
pid=$!
exec 3>held
sleep 0.2
kill -INT -- "-$pid"
cat a.png >&3
exec 3>&-
ends
check 'Ctrl-C ends a script: status 130' test "$status" = 130
check '  nothing comes after' test ! -s "$outside/out"
check '  no file' test ! -e out.png

exec 3<>held
"$SOFTLENS" classify - --model none >"$outside/out" 2>"$outside/err" <held &
pid=$!
ends
check 'what fails does not wait for standard input' test "$status" = 1
check '  a line' one_line
exec 3>&-

# A pipe that nobody opens does not hold the program.
env --default-signal=TERM "$SOFTLENS" deblur a.png held -o out/ >"$outside/out" 2>"$outside/err" &
pid=$!
until [ -e out/a.deblurred.png ]; do sleep 0.05; done
kill -TERM "$pid"
ends
check 'a pipe that nobody opens: status 130' test "$status" = 130
check '  a line' one_line
check '  no other file' test "$(ls -A out)" = a.deblurred.png
rm -r out

: >"$outside/out"
env --default-signal=TERM "$SOFTLENS" detect a.png held b.png --json -o - --model "$retina" \
    >"$outside/out" 2>"$outside/err" &
pid=$!
until [ -s "$outside/out" ]; do sleep 0.05; done
kill -TERM "$pid"
ends
check '  in the data each picture has its line' test "$status" = 130 -a "$(wc -l <"$outside/out")" = 3

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
