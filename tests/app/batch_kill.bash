# SPDX-License-Identifier: MIT
# tests/app/batch_kill.bash: a batch that is killed at any moment, and resumed each time, ends as one
# that nobody disturbed. KILLS and PICTURES say how often and of how many, such as
#     KILLS=50 PICTURES=500 tools/test.sh app-batch_kill
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
kills=${KILLS:-8}
pictures=${PICTURES:-24}
make model m.safetensors good
make soft s.safetensors good
make picture p.png 150x100
make picture j.jpg 120x90
mkdir -p in/{a,b}/{c,d}
for ((i = 0; i < pictures; i++)); do
    folder=in/$( ((i % 2)) && echo a || echo b)/$( ((i % 3)) && echo c || echo d)
    if ((i % 4)); then cp p.png "$folder/$i.png"; else cp j.jpg "$folder/$i.jpg"; fi
done
echo damaged >in/a/bad.png
steps=('deblur,classify' in --model m.safetensors --model s.safetensors --dense --tile 64 --threads 1)

digest() # FOLDER: every file but the journals, and what is in it
{
    (cd "$1" && find . -name .softlens -prune -o -type f -print0 | sort -z | xargs -0r sha256sum)
}

start=$(date +%s%N)
run batch "${steps[@]}" -o calm
took=$((($(date +%s%N) - start) / 1000000))
check "undisturbed, $took ms: one failure" test "$status" = 3
check 'everything is there' test "$(find calm -name '*.[pj][n-p]g' | wc -l)" = "$pictures"
digest calm >calm.sums

# At every moment, what bears a final name is whole.
RANDOM=${SEED:-7}
killed=0
: >"$outside/half"
for ((i = 0; i < kills; i++)); do
    "$SOFTLENS" batch "${steps[@]}" -o out >/dev/null 2>&1 </dev/null &
    pid=$!
    # Up to a share of the time, so that there is something left to kill until the end.
    delay=$((RANDOM % (1 + 3 * took / (2 * kills) + 20)))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    kill -9 "$pid" 2>/dev/null && killed=$((killed + 1))
    wait "$pid" 2>/dev/null
    mkdir -p out
    digest out | grep -v '\.part$' | grep -vxFf calm.sums >>"$outside/half"
done
check "$killed of $kills runs were killed; no half file under a final name" test ! -s "$outside/half"
run batch "${steps[@]}" -o out --json
check 'the last run ends' test "$status" = 3
check 'the same, byte for byte' diff calm.sums <(digest out)
check 'nothing is left beside it' test -z "$(find out -name '*.part')"
check 'no picture is done twice after it was done' test \
    "$(cut -f 2,10 out/.softlens/*.journal | grep -c $'^D\t')" = \
    "$(cut -f 2,10 out/.softlens/*.journal | grep $'^D\t' | sort -u | wc -l)"
before=$(snapshot | grep -v journal)
run batch "${steps[@]}" -o out --json
check 'and nothing is left to do' grep -q '"done":0,' "$outside/out"
check '  nothing is touched' test "$(grep -v labels <<<"$before")" = \
    "$(snapshot | grep -v -e journal -e labels)"

# A journal that was torn in the middle of a line, and one with a damaged line
printf '0badbadb\tD\t17\thalf a li' >>out/.softlens/1-of-1.journal
run batch "${steps[@]}" -o out --json
check 'a torn line is cut off' grep -q '"done":0,' "$outside/out"
sed -i '0,/\tD\t/s/\tD\t\([0-9]*\)/\tD\t9\1/' out/.softlens/1-of-1.journal
run batch "${steps[@]}" -o out --json
check 'a damaged line is told' grep -q 'damaged line' "$outside/err"
check '  and its picture is done again' grep -q '"done":1,' "$outside/out"
check '  to the same end' diff calm.sums <(digest out)
echo 'softlens batch journal 2' >out/.softlens/9-of-9.journal
run batch "${steps[@]}" -o out
check 'a newer journal is refused' test "$status" = 1
rm out/.softlens/9-of-9.journal

# Interrupted from the keyboard
for signal in INT TERM; do
    rm -rf soft
    env --default-signal=INT,TERM "$SOFTLENS" batch "${steps[@]}" -o soft >"$outside/out" \
        2>"$outside/err" </dev/null &
    pid=$!
    for ((wait = 0; wait < 500; wait++)); do # until the first picture is there
        [ -z "$(find soft -name '*.[pj][n-p]g' 2>/dev/null)" ] || break
        sleep 0.01
    done
    kill -"$signal" "$pid"
    wait "$pid"
    status=$?
    case $status in
        130) check "SIG$signal: said so" grep -q 'interrupted; the same command goes on' "$outside/err" ;;
        3) check "SIG$signal: came after the end" true ;;
        *) check "SIG$signal: status $status" false ;;
    esac
    check '  no half file' test -z "$(find soft -name '*.part')"
    run batch "${steps[@]}" -o soft
    check '  goes on to the same end' diff calm.sums <(digest soft)
done

# Interrupted before the first picture is done
rm -rf soft
mkfifo names
env --default-signal=INT,TERM "$SOFTLENS" batch "${steps[@]}" --files0-from names -o soft --json \
    >"$outside/out" 2>"$outside/err" </dev/null &
pid=$!
exec 8>names
printf 'in/a/bad.png\0' >&8
sleep 0.5
kill -INT "$pid"
exec 8>&-
wait "$pid"
status=$?
check 'interrupted while it lists pictures: status 130' test "$status" = 130
check '  tells so as JSON' grep -qE '"done":0,.*"interrupted":true' "$outside/out"
run batch "${steps[@]}" -o soft --json
check '  and what is not, too' grep -q '"interrupted":false' "$outside/out"

mkfifo silent # which nobody opens
timeout -s KILL 60 timeout --preserve-status 1 "$SOFTLENS" batch "${steps[@]}" --files0-from silent \
    -o soft >"$outside/out" 2>"$outside/err" </dev/null
status=$?
check 'interrupted before the first name: status 130' test "$status" = 130

# Two at once
mkdir -p twice/.softlens
exec 9>twice/.softlens/1-of-1.journal
flock -n 9
run batch deblur in -o twice --model m.safetensors
check 'two at once: refused' test "$status" = 1
check '  by name' grep -q 'another batch' "$outside/err"
run batch deblur in -o twice --model m.safetensors --shard 1/2
check '  shards work side by side' test "$status" = 0 -o "$status" = 3
exec 9>&-
run batch deblur in -o twice --model m.safetensors
check '  and afterwards it may' test "$status" = 3
finish
