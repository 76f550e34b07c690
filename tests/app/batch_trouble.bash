# SPDX-License-Identifier: MIT
# tests/app/batch_trouble.bash: a batch among broken files, on a full disk, in folders that vanish
# or may not be written. BROKEN says how many broken and how many good pictures there are, such as
#     BROKEN=300 tools/test.sh app-batch_trouble
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
broken=${BROKEN:-30}
make model m.safetensors good
make picture p.png 150x100
make picture j.jpg 120x90
make picture large.png 400x300
make header bomb.png 60000x60000
make header limit.png 14000x14000
export SOFTLENS_MODELS="$work/m.safetensors"
# Two sides of 65535 in a JPEG of a few bytes.
printf '\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9' \
    >bomb.jpg

bytes() # FILE
{
    stat -c %s "$1"
}

# Another byte at a random place behind the head: a PNG's checksums tell.
flip() # FROM TO
{
    local at=$((RANDOM % ($(bytes "$1") - 60) + 40)) old
    cp "$1" "$2"
    old=$(od -An -tu1 -j "$at" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((old ^ (1 << RANDOM % 8))))" |
        dd of="$2" bs=1 seek="$at" conv=notrunc status=none
}

RANDOM=${SEED:-11}
mkdir -p in/bad in/good
for ((i = 0; i < broken; i++)); do
    if ((i % 2)); then cp p.png in/good/$i.png; else cp j.jpg in/good/$i.jpg; fi
    case $((i % 6)) in
        0) head -c $((RANDOM % ($(bytes p.png) - 20))) p.png >in/bad/$i.png ;;
        1) head -c $((RANDOM % ($(bytes j.jpg) - 20))) j.jpg >in/bad/$i.jpg ;;
        2) flip p.png in/bad/$i.png ;;
        3) seq $((RANDOM % 2000)) >in/bad/$i.jpg ;;
        4) cp bomb.png in/bad/$i.png ;;
        5) if ((i % 4 == 1)); then cp bomb.jpg in/bad/$i.jpg; else cp limit.png in/bad/$i.png; fi ;;
    esac
done
run batch deblur in -o out --json --log log.jsonl --memory 256M
check "$broken broken among $broken good: status 3" test "$status" = 3
check '  each good one is done' test "$(find out/good -type f | wc -l)" = "$broken"
says "\"done\":$broken,.*\"failed\":$broken,"
check '  each broken one is named' test \
    "$(grep -oE 'in/bad/[0-9]+\.(png|jpg)' "$outside/err" | sort -u | wc -l)" = "$broken"
check '  a line each' test "$(wc -l <"$outside/err")" = "$broken"
check '  each in the log' "$MAKER" is-json log.jsonl $((2 * broken))
check '  none has an output' test ! -e out/bad
if [ -x /usr/bin/time ] && ! grep -q __asan_init "$SOFTLENS"; then
    rm -rf out
    /usr/bin/time -f %M -o "$outside/peak" "$SOFTLENS" batch deblur in -o out --memory 256M \
        >"$outside/out" 2>"$outside/err"
    peak=$(tail -n 1 "$outside/peak")
    check "  a peak of $((peak / 1024)) MiB is under 256" test "$peak" -lt $((256 * 1024))
fi
rm -rf in out

# Files that are no pictures by their size alone, and long ones
mkdir in
cp p.png in
if truncate -s 4T in/a.jpg 2>/dev/null; then
    timeout 60 "$SOFTLENS" batch deblur in -o out --json >"$outside/out" 2>"$outside/err"
    status=$?
    check 'a file of 4 TiB is not read: status 3' test "$status" = 3
    check '  and named' grep -q 'in/a.jpg: 4194304 MiB are more than' "$outside/err"
    says '"done":1,.*"failed":1,'
    env --default-signal=INT,TERM "$SOFTLENS" batch deblur in -o long --jobs 1 \
        --max-pixels 1000000000000 >"$outside/out" 2>"$outside/err" </dev/null &
    pid=$!
    for ((wait = 0; wait < 1000; wait++)); do # until it has begun
        ! grep -q $'\tS\t' long/.softlens/1-of-1.journal 2>/dev/null || break
        sleep 0.02
    done
    sleep 0.5
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    check 'nor does one that is read hold up the end: status 130' test "$status" = 130
    check '  which is told' grep -q interrupted "$outside/err"
fi
rm -rf in out long

# Larger than the memory that there is
make picture big.png 4000x3000
mkdir in
cp p.png in
mv big.png in
run batch deblur in -o out --memory 256M --json
check 'a picture that does not fit the memory fails by name' grep -q \
    'in/big.png: 4000x3000 pixels need .* --memory' "$outside/err"
says '"done":1,.*"failed":1,'
if [ -x /usr/bin/time ] && ! grep -q __asan_init "$SOFTLENS"; then
    /usr/bin/time -f %M -o "$outside/peak" "$SOFTLENS" batch deblur in -o out --memory 640M --json \
        >"$outside/out" 2>"$outside/err"
    peak=$(tail -n 1 "$outside/peak")
    says '"done":[12],.*"failed":0,'
    check "  with 640 MiB it is tiled; a peak of $((peak / 1024)) MiB" test "$peak" -lt $((640 * 1024))
fi
rm -rf in out

# A full disk
mkdir in
for ((i = 0; i < 12; i++)); do cp large.png in/$i.png; done
"$SOFTLENS" batch deblur in -o calm >/dev/null 2>&1
size=$(bytes calm/0.png)
full() # NAME COMMAND...: out/ has room for a few; then for all
{
    local name=$1 done_now
    shift
    "$@" >"$outside/out" 2>"$outside/err"
    status=$?
    done_now=$(sed -E 's/.*"done":([0-9]+),.*/\1/' "$outside/out")
    check "$name: status 1 or 3" test "$status" = 1 -o "$status" = 3
    check '  says why' grep -qiE 'no space|too large|full' "$outside/err"
    check "  ${done_now:-no} pictures were done" test "${done_now:-0}" -gt 0 -a "${done_now:-0}" -lt 12
    check '  no half file' test -z "$(find full -name '*.part' 2>/dev/null)"
}
# shellcheck disable=SC2016
in_namespace='mount -t tmpfs -o size=$2 none full && "$1" batch deblur in -o full --json; code=$?
    find full -name "*.part" >left; cp -r full/. kept; exit $code'
mkdir full kept
if unshare -rm mount -t tmpfs -o size=1m none full 2>/dev/null; then
    full 'a full disk' unshare -rm bash -c "$in_namespace" - "$SOFTLENS" $((5 * size + 200000))
    check '  none there either' test ! -s left
    check 'status 1: it ends at once' test "$status" = 1
    cp -r kept/. full
else
    echo '# no tmpfs can be mounted here'
fi
run batch deblur in -o full --json
check 'with room again it goes on' test "$status" = 0
check '  to the same end' diff -r -x .softlens calm full
rm -rf full kept left

# A limit on the size of files: each picture fails, and the journal in the end
mkdir full
(
    ulimit -f $((size / 1024 - 1))
    "$SOFTLENS" batch deblur in -o full --json >"$outside/out" 2>"$outside/err"
)
status=$?
check 'files may not grow: status 1 or 3' test "$status" = 1 -o "$status" = 3
check '  nothing is there' test -z "$(find full -name '*.png*')"
run batch deblur in -o full
check '  and without the limit all of it' diff -r -x .softlens calm full
rm -rf full

# A log that cannot be written
if [ -w /dev/full ]; then
    run batch deblur in -o full --json --log /dev/full
    check 'a log on a full disk: status 1' test "$status" = 1
    check '  told once' test "$(grep -c -- '--log /dev/full: .*No space' "$outside/err")" = 1
    says '"done":12,'
    rm -rf full
fi

# Starts a batch that waits for names on 3, after the first half of the pictures.
start()
{
    rm -f held
    mkfifo held
    "$SOFTLENS" batch deblur --files0-from held -o full --json >"$outside/out" 2>"$outside/err" &
    pid=$!
    exec 3>held
    printf 'in/%d.png\0' 0 1 2 3 4 5 6 7 8 9 10 11 >&3
}
let_go()
{
    exec 3>&-
    wait "$pid"
    status=$?
}

# What vanishes or changes between being listed and being read
start
rm in/3.png
let_go
check 'a file that is not there: status 3' test "$status" = 3
check '  named' grep -q 'in/3.png: cannot be read: No such file' "$outside/err"
cp large.png in/3.png
rm -rf full

# What somebody makes meanwhile where a picture will go
slow=(--dense --tile 128 --threads 1)
mkdir plenty # for what is fast
for ((i = 0; i < 300; i++)); do ln in/0.png plenty/$i.png; done
for step in deblur detect; do
    from=in
    models=(--model m.safetensors)
    last=full/9.png
    if [ $step = detect ]; then
        from=plenty
        models=(--model "$ROOT/tests/data/golden/retina-plain.safetensors")
        last=full/99.json
    fi
    "$SOFTLENS" batch $step $from -o full "${models[@]}" --threads 1 --jobs 1 >"$outside/out" \
        2>"$outside/err" &
    pid=$!
    for ((wait = 0; wait < 1000; wait++)); do
        ! compgen -G 'full/*.*' >/dev/null || break
        sleep 0.01
    done
    kill -STOP "$pid"
    is_early=0
    if [ ! -e "$last" ]; then
        is_early=1
        echo theirs >"$last"
    fi
    kill -CONT "$pid"
    wait "$pid"
    status=$?
    if [ $is_early = 0 ]; then
        echo "# $step had ended by then"
        rm -rf full
        continue
    fi
    check "$step: status 3" test "$status" = 3
    check '  it is named' grep -qE "$last: (was made by somebody else|exists)" "$outside/err"
    for again in 1 2; do
        run batch $step $from -o full "${models[@]}"
        check "  it stays, time $again" test "$status" = 3 -a "$(cat "$last")" = theirs
    done
    run batch $step $from -o full "${models[@]}" --overwrite --json
    check '  until it may go' test "$status" = 0 -a "$(head -c 6 "$last" | tr -d '\0')" != theirs
    rm -rf full
done
rm -rf plenty

# The output folder is removed while we work
"$SOFTLENS" batch deblur in -o full "${slow[@]}" --json >"$outside/out" 2>"$outside/err" &
pid=$!
for ((wait = 0; wait < 1000; wait++)); do
    [ ! -e full/1.png ] || break
    sleep 0.01
done
mv full away
wait "$pid"
status=$?
check 'the output folder is gone: status 1' test "$status" = 1
check '  a line says so' grep -qE 'full/' "$outside/err"
rm -rf full
run batch deblur in -o full "${slow[@]}"
check '  begun anew it is whole' test "$status" = 0 -a "$(find full -name '*.png' | wc -l)" = 12
run batch deblur in -o away "${slow[@]}" --json
check '  and what was moved goes on' test "$status" = 0 -a "$(find away -name '*.png' | wc -l)" = 12
check '  alike' diff -r -x .softlens full away
rm -rf full away

# A folder that may not be written
mkdir -p in/sub
for name in a b c; do cp p.png in/sub/$name.png; done
chmod 755 "$work"
as_other=()
if [ "$(id -u)" = 0 ]; then
    as_other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
if [ "$(id -u)" != 0 ] || command -v setpriv >/dev/null; then
    mkdir -p full/sub
    chmod 777 full
    chmod 555 full/sub
    "${as_other[@]}" "$SOFTLENS" batch deblur in -o full --json >"$outside/out" 2>"$outside/err"
    status=$?
    check 'a folder that is read-only: status 3' test "$status" = 3
    says '"done":12,.*"failed":3,'
    check '  named' grep -q 'full/sub/a.png: .*[Pp]ermission denied' "$outside/err"
    chmod 777 full/sub
    "${as_other[@]}" "$SOFTLENS" batch deblur in -o full --json >"$outside/out" 2>"$outside/err"
    status=$?
    check '  done when it may be written' test "$status" = 0
    says '"done":3,.*"done_before":12,'
    mkdir shut
    chmod 555 shut
    "${as_other[@]}" "$SOFTLENS" batch deblur in -o shut/out >"$outside/out" 2>"$outside/err"
    status=$?
    check 'no output folder can be made: status 1' test "$status" = 1
    check '  says why' grep -q 'ermission denied' "$outside/err"
    check '  a line' one_line
fi
finish
