# SPDX-License-Identifier: MIT
# tests/app/batch_detect.bash: softlens batch detect: data in the same tree, pictures drawn on, files
# of many pictures; the same as softlens detect, and the same whatever came between.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
golden=$ROOT/tests/data/golden
retina=$golden/retina-plain.safetensors # thing 0 to thing 4
make soft s.safetensors good
make model m.safetensors good
export SOFTLENS_MODELS=$retina
mkdir -p in/sub
make picture in/a.png 200x150
make picture in/b.jpg 90x120
make picture in/sub/c.png 64x64
make picture in/sub/a.jpg 100x80
many=coco,csv,jsonl,cvat,yolo

digest() # FOLDER: every file but the journals, and what is in it
{
    (cd "$1" && find . -name .softlens -prune -o -type f -print0 | sort -z | xargs -0r sha256sum)
}

plain() # FILE: without what tells when and where it was computed
{
    sed -E 's/"seconds": ?[^,]*,//; s/"device": ?"[^"]*",//; s/"fell_back": ?[^,]*,//' "$1"
}

# Beside each other: softlens detect and the batch
accepted batch detect in -o out --overlay --format "json,$many"
says '^out: 4 pictures done'
check 'what is written' diff - <(cd out && find . -name .softlens -prune -o -type f -print | sort) <<'END'
./a.json
./a.png
./b.jpg
./b.json
./coco.json
./cvat.xml
./detections.csv
./detections.jsonl
./sub/a.jpg
./sub/a.json
./sub/c.json
./sub/c.png
./yolo/data.yaml
./yolo/labels/a.txt
./yolo/labels/b.txt
./yolo/labels/sub__a.txt
./yolo/labels/sub__c.txt
END
(cd in && "$SOFTLENS" detect a.png b.jpg sub/a.jpg sub/c.png --format coco,csv,jsonl,cvat -o ../alone/ -q \
    --no-overlay)
for name in coco.json detections.csv cvat.xml; do
    check "$name: that of softlens detect" cmp "out/$name" "alone/$name"
done
check 'detections.jsonl: likewise' diff <(plain out/detections.jsonl) <(plain alone/detections.jsonl)
for picture in a.png b.jpg sub/a.jpg sub/c.png; do
    base=${picture##*/}
    rm -rf one
    "$SOFTLENS" detect "in/$picture" -o one/ --format json -q
    check "$picture: its data" diff <(plain "out/${picture%.*}.json") <(plain "one/${base%.*}.json")
    check "$picture: its overlay" cmp "out/$picture" one/*.detected.*
    rm -rf one
    "$SOFTLENS" detect "in/$picture" -o one/ --format yolo -q --no-overlay
    flat=${picture//\//__}
    check "$picture: YOLO's" cmp "out/yolo/labels/${flat%.*}.txt" one/yolo/labels/*.txt
done
check 'data.yaml' cmp out/yolo/data.yaml one/yolo/data.yaml
digest out >out.sums
accepted batch detect in -o blurred --overlay --overlay-style blur --quiet
"$SOFTLENS" detect in/a.png -o blurred.png --overlay-style blur -q
check 'blurred: likewise' cmp blurred/a.png blurred.png
check '  nothing is seen' "$MAKER" is-smooth blurred/a.png out/a.json

# Done is done; a file that is gone is made again; tables cost no work
accepted batch detect in -o out --overlay --format "json,$many"
says 'out: 0 pictures done, 4 done before$'
check 'the same' diff out.sums <(digest out)
rm out/sub/a.json out/coco.json
accepted batch detect in -o out --overlay --format "json,$many" --threads 1 --report r.html
says 'out: 1 picture done, 3 done before'
check 'as before, on other threads' diff out.sums <(digest out)
check 'the report counts objects' grep -qE '<td>thing [0-4]<td class="n">[0-9]+$' r.html
rm out/detections.csv
accepted batch detect in -o out --overlay --format json,csv
says 'out: 0 pictures done, 4 done before$'
check 'another table from the journals' diff out.sums <(digest out)

# What decides the results does the work again: each option against what a run without it left
accepted batch detect in -o base
accepted batch detect in -o over --overlay
accepted batch detect in -o hard --nms hard
accepted batch detect in -o named --refine s.safetensors
"$SOFTLENS" enroll my.gallery heron in/a.png in/b.jpg --model s.safetensors --quiet
anew() # DONE FOLDER OPTIONS...: so many pictures are done in a copy of what is in the folder
{
    local done=$1
    rm -rf changed
    cp -a "$2" changed
    shift 2
    accepted batch detect in -o changed "$@"
    says "^changed: $done pictures done"
}
anew 0 base
anew 0 over --overlay --format json,coco
anew 0 named --refine s.safetensors
for change in '--score 0.9' '--max 3' '--nms hard' '--sigma 0.3' '--tta flip' '--tile 64' \
    '--size 128x64' '--classes thing*1,thing*3' '--format labelme' '--refine s.safetensors' --overlay; do
    words=()
    for word in $change; do words+=("${word//\*/ }"); done
    anew 4 base "${words[@]}"
done
for change in '--overlay-style blur' '--format png,json' '--quality 40' --strip-metadata; do
    # shellcheck disable=SC2086 # one word an option
    anew 4 over --overlay $change
done
anew 4 hard --nms hard --iou 0.4
anew 4 named --refine s.safetensors --unknown-rate 0.5
anew 4 named --refine s.safetensors --gallery my.gallery
mv changed mine
anew 4 mine --refine s.safetensors --gallery my.gallery --only-gallery
rm -rf changed mine hard named
accepted batch detect in -o three --max 3 --classes 'thing 1, thing 3' --format csv
"$SOFTLENS" detect in/a.png -o alone.png --max 3 --classes 'thing 1, thing 3' --format csv --no-overlay -q
check 'no picture has data of its own' test "$(find three -type f | wc -l)" = 2
check 'the options are those of softlens detect' diff <(tail -n +2 alone.csv | cut -d , -f 2-) \
    <(grep '^a.png' three/detections.csv | cut -d , -f 2-)
accepted batch detect in -o tiled --tile 64 --tta flip --format csv
"$SOFTLENS" detect in/a.png -o tiled.png --tile 64 --tta flip --format csv --no-overlay -q
check '  tiles, too' diff <(tail -n +2 tiled.csv | cut -d , -f 2-) \
    <(grep '^a.png' tiled/detections.csv | cut -d , -f 2-)

# Named anew
accepted batch detect in -o refined --refine s.safetensors --format json,coco
"$SOFTLENS" detect in/a.png -o refined.png --refine s.safetensors --format json --no-overlay -q
check 'by a classifier' diff <(plain refined.json) <(plain refined/a.json)
accepted batch detect in -o herons --refine s.safetensors --gallery my.gallery --format csv
cp my.gallery other.gallery
accepted batch detect in -o herons --refine s.safetensors --gallery other.gallery --format csv
says '4 done before$'
"$SOFTLENS" enroll other.gallery stork in/sub/c.png in/sub/a.jpg --model s.safetensors --quiet
accepted batch detect in -o herons --refine s.safetensors --gallery other.gallery --format csv
says '^herons: 4 pictures done'

# Nothing found
accepted batch detect in -o none --score 0.999999 --format "json,$many" --overlay
check 'no objects' grep -q '"detections": \[\]' none/a.json
check '  in YOLO, an empty file' test -e none/yolo/labels/sub__c.txt -a ! -s none/yolo/labels/sub__c.txt

# Pictures that fail
cp -r in mixed
head -c 300 in/b.jpg >mixed/b.jpg
run batch detect mixed -o failed --format json,coco
check 'a broken one: status 3' test "$status" = 3
check '  is told' grep -q 'mixed/b\.jpg' "$outside/err"
check '  and is in no table' test "$(grep -o '"file_name"' failed/coco.json | wc -l)" = 3 -a ! -e failed/b.json
cp in/b.jpg mixed
accepted batch detect mixed -o failed --format json,coco
says '1 picture done, 3 done before'
check 'mended, it is in its place' cmp failed/coco.json out/coco.json

# Names that collide: those of data are told apart, and none is called as a table
mkdir clash
cp in/a.png clash/x.png
cp in/b.jpg clash/x.jpg
cp in/a.png clash/coco.png
accepted batch detect clash -o clashed --format "json,$many"
check 'by their whole names' test -s clashed/x.png.json -a -s clashed/x.jpg.json -a \
    -s clashed/coco.png.json -a ! -e clashed/x.json
check '  in YOLO, too' test -e clashed/yolo/labels/x.txt -a -e clashed/yolo/labels/x.png.txt
rm clash/x.jpg
accepted batch detect clash -o clashed --format json
says '1 picture done, 1 done before'
check 'one that is alone has its own name' test -s clashed/x.json

# Others' files stay
mkdir -p taken/sub
echo mine >taken/sub/c.json
run batch detect in -o taken
check 'a file of another: status 3' test "$status" = 3
check '  is kept' test "$(cat taken/sub/c.json)" = mine
accepted batch detect in -o taken --overwrite
check '  unless told' grep -q detections taken/sub/c.json
mkdir tables
echo mine >tables/coco.json
refused 1 'exists and was not made' batch detect in -o tables --format coco
refused 1 'exists and was not made' batch detect in -o tables --format coco --shard 1/2
accepted batch detect in -o tables --format csv
mkfifo tables/cvat.xml
refused 1 'tables/cvat.xml: is not a regular file' batch detect in -o tables --format cvat --overwrite
rm tables/cvat.xml
mkdir -p tables/yolo/labels
echo mine >tables/yolo/labels/a.txt
echo mine >tables/cvat.xml
# A journal of other formats makes none of them ours
refused 1 'tables/coco.json: exists and was not made' batch detect in -o tables --format csv,coco
refused 1 'tables/yolo: exists and was not made' batch detect in -o tables --format yolo
run batch merge tables --format cvat
check 'nor does merge take them' test "$status" = 1 -a "$(cat tables/cvat.xml)" = mine
accepted batch detect in -o tables --format csv,coco --overwrite
accepted batch detect in -o tables --format csv,coco
check 'until told, and then it is ours' grep -q annotations tables/coco.json

# Data beside the pictures
cp -r in beside
accepted batch detect beside -o beside
check 'beside the pictures' test -s beside/sub/c.json
refused 2 'lies in the output' batch detect beside -o beside --overlay

# What softlens detect drew among the pictures is none, unless it is asked for
mkdir drawn-on
cp in/a.png in/b.jpg drawn-on
accepted detect drawn-on -q
run batch detect drawn-on -o undrawn --format csv
says '^undrawn: 2 pictures done'
check 'what was drawn is left out, and told' grep -q \
    'drawn-on/[ab].detected.[a-z]*: was drawn by softlens detect and is left out, and so are 1 more' "$outside/err"
run batch detect drawn-on -o undrawn --format csv --json
says '"left_out":2,'
mkdir only
cp drawn-on/a.detected.* only
refused 1 "no pictures found but 1 that softlens detect drew.*--include '\*.detected" batch detect only -o undrawn -q
accepted batch detect drawn-on -o undrawn --format csv --include '*.detected.*'
says '^undrawn: 2 pictures done'
run batch detect drawn-on -o undrawn --format csv
accepted batch merge undrawn
says '^undrawn: 4 pictures done' # nor is it gone
accepted batch detect drawn-on/*.png -o asked --format csv
says '^asked: 2 pictures done'

# Chains: as one step after the other, with files without loss between
two=(--model "$retina" --model m.safetensors)
accepted batch deblur,detect in -o chain "${two[@]}" --format png,json,coco
accepted batch deblur in -o sharp --model m.safetensors --format png
check 'the deblurred picture' cmp chain/a.png sharp/a.png
accepted batch detect sharp -o found --format json,coco
check 'is what is looked at' cmp <(sed 's/\.jpg/.png/' chain/coco.json) found/coco.json
accepted batch deblur,detect in -o drawn "${two[@]}" --overlay --tile 64
accepted batch deblur in -o sharp --model m.safetensors --tile 64
"$SOFTLENS" detect sharp/a.png -o drawn.png --no-overlay -q
check '--tile is that of deblur' diff <(plain drawn.json | tail -n +3) <(plain drawn/a.json | tail -n +3)
accepted batch detect,deblur in -o before "${two[@]}" --overlay --format coco
check 'the other way round the picture as it was is looked at' cmp before/coco.json out/coco.json
accepted batch detect sharp -o over --overlay
check 'and drawn on' cmp drawn/a.png over/a.png
accepted batch deblur,detect in -o still "${two[@]}" --overlay --min-blur 0.999
check 'what is drawn on is no link' test ! in/a.png -ef still/a.png
accepted batch classify,detect in -o both --model s.safetensors --format csv --gallery my.gallery
check 'labels and objects' test -s both/labels.csv -a -s both/detections.csv
check '  the gallery is that of classify' cmp both/detections.csv out/detections.csv

# Names without folders are cut before they are too long for a file, and tables do without each other
deep=deep/2024.05/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})
mkdir -p "$deep"
cp in/a.png "$deep/one.png"
cp in/b.jpg "$deep/other.jpg"
accepted batch detect deep -o cut --format yolo,csv
check 'cut names are a file each' test "$(find cut/yolo/labels -name '2024.05__d*e*.txt' | wc -l)" = 2
check '  and the other table is there' test "$(grep -c e/o cut/detections.csv)" -gt 1
mkdir -p other/yolo/labels
accepted batch detect in -o other --format jsonl
check 'how it was computed is not known' test "$(grep -c '"fell_back":null' other/detections.jsonl)" = 4
rm -r deep cut other

# Shards
for shard in 1 2; do
    accepted batch detect in -o parts --overlay --format "json,$many" --shard $shard/2
done
check 'a table for each' test -s parts/coco.1-of-2.json -a -s parts/coco.2-of-2.json -a \
    -e parts/yolo.1-of-2/data.yaml
accepted batch merge parts --report merged.html
says 'parts: 4 pictures done, 0 failed, 2 shards: complete'
check 'merged: as one run' diff out.sums <(digest parts | grep -v -e '[12]-of-2')
rm parts/cvat.xml
accepted batch merge parts --format cvat
check 'merged into what is asked for' cmp out/cvat.xml parts/cvat.xml
# What no shard was asked for is ours as well, once merge wrote it; what the user made is not
for shard in 1 2; do
    accepted batch detect in -o joined --format json --shard $shard/2
done
for again in 1 2; do
    accepted batch merge joined --format coco,yolo
    check "merge makes another table, time $again" cmp out/coco.json joined/coco.json
done
check '  and says so once' test "$(wc -l <joined/.softlens/0-of-1.journal)" = 2
accepted batch detect in -o joined --format coco
says '4 pictures done'
echo mine >joined/cvat.xml
for again in 1 2; do
    run batch merge joined --format coco,cvat
    check "  but takes none, time $again" test "$status" = 1 -a "$(cat joined/cvat.xml)" = mine
done
# Also while a batch is at work there
mkdir hot
cp in/a.png hot
env --default-signal=INT,TERM "$SOFTLENS" batch detect hot -o warm --watch >"$outside/watch" 2>&1 </dev/null &
pid=$!
for ((wait = 0; wait < 300; wait++)); do
    ! grep -q '1 picture done' "$outside/watch" || break
    sleep 0.1
done
accepted batch merge warm --format coco
says 'warm: 1 picture done, 0 failed, 1 shard: complete'
check 'merge makes a table beside a batch' test -s warm/coco.json
kill -INT "$pid"
wait "$pid"
accepted batch detect hot -o warm --format coco

# Killed at any moment
RANDOM=${SEED:-7}
kills=${KILLS:-6}
for ((i = 0; i < 40; i++)); do cp in/a.png "mixed/k$i.png"; done
start=$(date +%s%N)
accepted batch detect mixed -o calm --overlay --format "json,$many" --threads 1
took=$((($(date +%s%N) - start) / 1000000))
digest calm >calm.sums
killed=0
: >"$outside/half"
for ((i = 0; i < kills; i++)); do
    "$SOFTLENS" batch detect mixed -o killed --overlay --format "json,$many" --threads 1 >/dev/null 2>&1 &
    pid=$!
    delay=$((RANDOM % (1 + 3 * took / (2 * kills) + 60)))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    kill -9 "$pid" 2>/dev/null && killed=$((killed + 1))
    wait "$pid" 2>/dev/null
    mkdir -p killed
    digest killed | grep -v '\.part$' | grep -vxFf calm.sums >>"$outside/half"
done
check "$killed of $kills runs, of $took ms, were killed; no half file under a final name" test ! -s "$outside/half"
accepted batch detect mixed -o killed --overlay --format "json,$many"
check 'resumed: the same, byte for byte' diff calm.sums <(digest killed)
check 'nothing is left beside it' test -z "$(find killed -name '*.part')"

# What does not go together
refused 2 'none of the steps' batch classify in -o x/ --overlay
refused 2 'none of the steps' batch deblur in -o x --score 0.5
refused 2 'is of detect' batch deblur in -o x --format coco
refused 2 'is neither png nor jpg' batch detect in -o x --format bmp
refused 2 'add --overlay' batch detect in -o x --format png
refused 2 'one kind' batch detect in -o x --overlay --format png,jpg
refused 2 'both be NAME.json' batch detect in -o x --format json,labelme
refused 2 'is of --overlay' batch detect in -o x --overlay-style blur
refused 2 'one of boxes' batch detect in -o x --overlay --overlay-style crop
refused 2 'sort-into is of classify' batch detect in -o x --sort-into y
refused 2 'jsonl is of classify' batch detect in -o x --jsonl
refused 2 'log x/coco\.json: is a table' batch detect in -o x/ --format coco --log x/coco.json
refused 2 'tta flips is of deblur' batch detect in -o x --tta flips
refused 2 'shrink is of deblur' batch detect in -o x --shrink 2
refused 2 'tta is of deblur and detect' batch classify in -o x/ --tta flip
refused 2 'min-blur is of deblur' batch detect in -o x --min-blur 0.1
refused 2 'is of --refine' batch detect in -o x --unknown-rate 0.1
refused 2 'is of --nms hard' batch detect in -o x --iou 0.4
refused 2 '32 pixels at least' batch detect in -o x --tile 16
refused 2 'finds no "zebra"' batch detect in -o x --classes zebra
refused 2 'names none' batch detect in -o x --classes ,
refused 1 'cannot classify' batch detect in -o x --refine m.safetensors
refused 1 'my\.gallery|gallery' batch detect in -o x --refine s.safetensors --gallery m.safetensors
refused 2 'serves no step' batch detect in -o x --model m.safetensors
refused 2 'need [0-9]+ MiB before' batch detect in -o x --memory 256M --size 4096x4096
refused 2 'is a file' batch detect in -o in/a.png
accepted batch detect in -o x --dry-run
says '^in/sub/c\.png -> x/sub/c\.json$'
# A journal that names no labels
accepted batch detect in -o bare --format coco --quiet
while IFS= read -r line; do
    if [[ $line = *$'\tS\t'* ]]; then
        line=${line#*$'\t'}
        line=${line//'"labels"'/'"lost"'}
        printf '%s\t' "$(printf %s "$line" | gzip -c | tail -c 8 | od -An -tx4 -N 4 | tr -d ' ')"
    fi
    printf '%s\n' "$line"
done <bare/.softlens/1-of-1.journal >tampered
mv tampered bare/.softlens/1-of-1.journal
run batch merge bare
check 'no labels: status 1' test "$status" = 1
check '  is told as it is' grep -q 'bare/.softlens: .* names no labels' "$outside/err"
finish
