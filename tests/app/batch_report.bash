# SPDX-License-Identifier: MIT
# tests/app/batch_report.bash: shards joined, the report, and folders that are watched.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make soft s.safetensors good
make picture p.png 150x100
make picture j.jpg 120x90
models=(--model m.safetensors --model s.safetensors)
mkdir -p in/{a,b}
for ((i = 0; i < 12; i++)); do
    if ((i % 2)); then cp p.png in/a/$i.png; else cp j.jpg in/b/$i.jpg; fi
done
printf 'no picture' >'in/a/<b>&"bad.png'
digest()
{
    (cd "$1" && find . -name .softlens -prune -o -type f -print0 | sort -z | xargs -0r sha256sum)
}

run batch deblur,classify in -o whole "${models[@]}" --report whole.html
check 'one machine' test "$status" = 3
for shard in 1 3; do
    run batch deblur,classify in -o out "${models[@]}" --shard $shard/3
done
run batch merge out
check 'a shard is missing: status 1' test "$status" = 1
check '  named' grep -q 'shard 2/3 never ran' "$outside/err"
run batch deblur,classify in -o out "${models[@]}" --shard 2/3 --quality 50
run batch merge out
check 'with other settings: status 1' test "$status" = 1
check '  named' test "$(grep -c 'shard [13]/3 ran with other settings' "$outside/err")" = 2
run batch deblur,classify in -o out "${models[@]}" --shard 2/3
cp j.jpg in/b/late.jpg
run batch deblur,classify in -o out "${models[@]}" --shard 3/3
run batch merge out
check 'on another tree: status 1' test "$status" = 1
check '  named' grep -q 'shard 3/3 saw another tree' "$outside/err"
rm in/b/late.jpg
for shard in 1 2 3; do
    run batch deblur,classify in -o out "${models[@]}" --shard $shard/3
done
rm -f out/b/late.jpg
cp out/.softlens/3-of-3.journal whole.journal
sed -i '$d' out/.softlens/3-of-3.journal # its last word, as if it had been killed
run batch merge out
check 'a shard that was cut short: status 1' test "$status" = 1
check '  named' grep -q 'shard 3/3 did not come to its end' "$outside/err"
mv whole.journal out/.softlens/3-of-3.journal
cp -r in/a a # what is here by their names, and not what was done
run batch merge out --report merged.html
rm -r a
check 'all of them: complete, with a failure' test "$status" = 3
says '^out: 12 pictures done, 1 failed, 3 shards: complete$'
rm -f out/labels.?-of-3.csv
check 'what one machine did, the table included' diff <(digest whole | grep -v late) <(digest out)
for shard in 1 2; do
    run batch classify in -o l.jsonl --model s.safetensors --shard $shard/2
done
run batch merge l.jsonl
check 'a table alone' test "$(wc -l <l.jsonl)" = 13
# What the last run left undone is missing, however many others were done before
mkdir few
cp p.png few/a.png
cp j.jpg few/b.jpg
touch -d 2020-01-01 few/*
accepted batch deblur few -o some --model m.safetensors
cp p.png few/c.png
echo theirs >some/c.png
run batch deblur few -o some --model m.safetensors --newer 2021-01-01
refused 1 '1 of 1 pictures are neither done nor failed' batch merge some --quiet
echo 'no picture' >few/d.png
rm some/c.png
run batch deblur few -o some --model m.safetensors --newer 2021-01-01
run batch merge some
check 'what failed is told as that' test "$status" = 3
says '^some: 3 pictures done, 1 failed, 1 shard: complete$'
refused 1 'tells of no run' batch merge in
refused 2 'merge takes one name' batch merge

# The report
for page in whole merged; do
    check "$page: failures by name, harmless" grep -q '&lt;b&gt;&amp;&quot;bad.png' $page.html
    check '  no markup of theirs' test "$(grep -c '<b>' $page.html)" = 0
    check '  nothing from elsewhere' test "$(grep -cE 'https?:|//[a-z]|<script|<link|url\(' $page.html)" = 0
done
check 'before and after' test "$(grep -c 'src="data:image/jpeg;base64,' whole.html)" = 24
check '  where they lay merge does not know' test "$(grep -c 'src="data:image/jpeg;base64,' merged.html)" = 12
if command -v chromium >/dev/null; then
    HOME=$outside chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$outside/chromium" --dump-dom "file://$work/whole.html" \
        >"$outside/dom" 2>/dev/null
    check 'Chromium reads it' grep -q '<table id="failures">' "$outside/dom"
    check '  a row for each failure' test "$(sed -n '/id="failures"/,/<\/table>/p' "$outside/dom" |
        grep -c '<tr>')" = 2
    check '  the classes' grep -q '<table id="labels">' "$outside/dom"
    check '  a bar for each time' test "$(grep -o '<rect' "$outside/dom" | wc -l)" = 16
    check '  all pictures' test "$(grep -o '<img' "$outside/dom" | wc -l)" = 24
else
    echo '# no chromium here'
fi

# Folders that are watched
# shellcheck disable=SC2317
watching() # COMMAND...: succeeds within ten seconds
{
    for ((wait = 0; wait < 100; wait++)); do
        ! "$@" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
mkdir -p hot/sub
cp p.png hot/first.png
touch -d '1 hour ago' hot/first.png
env --default-signal=INT,TERM "$SOFTLENS" batch deblur hot -o seen --watch --model m.safetensors \
    >"$outside/out" 2>"$outside/err" </dev/null &
pid=$!
check 'what was there' watching test -e seen/first.png
cp j.jpg hot/sub/second.jpg
check 'what arrives' watching test -e seen/sub/second.jpg
mkdir -p hot/new/deep
cp -p hot/first.png hot/new/deep/third.png
check 'in folders that are new' watching test -e seen/new/deep/third.png
# A file that grows in steps is not taken before it is whole: nothing fails.
{
    head -c 4000 p.png
    sleep 1
    tail -c +4001 p.png | head -c 4000
    sleep 1
    tail -c +8001 p.png
} >hot/slow.png
check 'a file that grows, when it has grown' watching "$MAKER" is-picture seen/slow.png 150x100
cp j.jpg hot/moved.part
mv hot/moved.part hot/moved.jpg
check 'a file that is moved there' watching test -e seen/moved.jpg
kill -INT "$pid"
wait "$pid"
status=$?
check 'until interrupted while idle: status 0' test "$status" = 0
check '  without a failure' test ! -s "$outside/err"
# What cannot be done calls for no more passes, though they write tables and reports in the folder.
mkdir warm
cp p.png warm
printf 'no picture' >warm/bad.png
make header warm/large.png 14000x14000
touch -d '1 hour ago' warm/*
env --default-signal=INT,TERM "$SOFTLENS" batch classify warm -o warm/labels.csv --watch --retry-failed \
    --report warm/report.html --memory 256M --model s.safetensors >"$outside/out" 2>"$outside/err" </dev/null &
pid=$!
check 'what was there' watching test -e warm/report.html
sleep 3
check '  in one pass' test "$(grep -c 'warm/large.png: ' "$outside/err")" = 1
cp -p warm/p.png warm/arrived.png
check '  and what arrives' watching grep -q '^arrived.png' warm/labels.csv
kill -INT "$pid"
wait "$pid"
status=$?
check '  until interrupted: status 3' test "$status" = 3
# Nor do files of many pictures, also where any name may be that of a picture
mkdir found
cp p.png found
printf 'no picture' >found/bad.png
touch -d '1 hour ago' found/*
env --default-signal=INT,TERM "$SOFTLENS" batch detect found -o found --format coco,csv,yolo --watch \
    --retry-failed --include '*' --model "$ROOT/tests/data/golden/retina-plain.safetensors" \
    >"$outside/out" 2>"$outside/err" </dev/null &
pid=$!
check 'what was there' watching test -e found/yolo/data.yaml
sleep 3
check '  in one pass or two' test "$(grep -c 'found/bad.png: ' "$outside/err")" -le 2
cp -p p.png found/arrived
check '  and what arrives' watching grep -q '"arrived"' found/coco.json
kill -INT "$pid"
wait "$pid"
refused 2 'go(es)? with it' batch deblur hot -o seen --watch --dry-run
finish
