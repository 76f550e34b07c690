# SPDX-License-Identifier: MIT
# tests/app/detect.bash: objects in pictures: overlays, crops and data under the right names;
# folders, pipes, pictures that fail; and how good a detector is.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
golden=$ROOT/tests/data/golden
make soft classifier.safetensors good
make model lmd.safetensors good
make picture a.png 200x150
make picture b.jpg 90x120
export SOFTLENS_MODELS="$golden/retina-plain.safetensors" # thing 0 to thing 4

exists() # NAMES...: they are there, and not empty
{
    local name
    for name; do
        [ -s "$name" ]
        report $? "there is $name"
    done
}

# One picture: the overlay and the data beside it, and a table
accepted detect a.png
says '^a\.png: [0-9]+ objects, [0-9.]+ s, cpu.* -> a\.json, a\.detected\.png$'
says '^  thing [0-4] +[0-9.]+ %'
exists a.detected.png a.json
refused 1 'a\.detected\.png: exists' detect a.png
accepted detect a.png --overwrite --quiet
check 'nothing is said' test ! -s "$outside/out"
accepted detect b.jpg -o found.png
exists found.png found.json
accepted detect b.jpg -o new/dir/ --json
exists new/dir/b.detected.jpg new/dir/b.json
says '^\{.*"input":"b.jpg","written":\["new/dir/b.json","new/dir/b.detected.jpg"\].*"label":"thing'
check 'what is printed is what is written' python3 -c '
import json, sys
said, wrote = (json.load(open(path)) for path in sys.argv[1:])
for key in ("input", "written"):
    del said[key]
del wrote["picture"]
sys.exit(said != wrote)' "$outside/out" new/dir/b.json
"$SOFTLENS" detect - -o piped.jpg <b.jpg >"$outside/out" 2>"$outside/err"
report $? 'standard input'
exists piped.jpg piped.json
refused 2 'name the result with -o' detect -
refused 2 'print what is found with --json -o -' detect - --json
refused 2 'print what is found with --json -o -' detect - -o new/
refused 2 'print what is found with --json -o -' detect a.png - -o .
run detect a.png b.jpg --json -o - --model nowhere.pth
says '"error":"nowhere.pth: [^"]*"\}$'
check 'without a model every picture has its line' test "$status" = 1 -a "$(grep -c '"error":"nowhere.pth' "$outside/out")" = 2

# Nothing but lines on standard output
before=$(snapshot)
"$SOFTLENS" detect - --json -o - <b.jpg >"$outside/out" 2>"$outside/err"
report $? 'from pipe to pipe'
says '^\{"input":"-","written":\[\],"width":90,"height":120,.*"label":"thing '
mkdir reader
cp a.png b.jpg reader
chmod a-w reader
run detect reader nowhere.png --json --no-overlay -o -
[ "$status" = 3 ] && [ "$(grep -c '^{"input":.*}$' "$outside/out")" = 3 ] && [ "$(wc -l <"$outside/out")" = 3 ]
report $? 'a line for each, of a folder that cannot be written, too'
chmod u+w reader
rm -r reader
"$SOFTLENS" detect a.png b.jpg --json -o - 2>"$outside/err" | head -c 9 >"$outside/out"
check 'a reader that leaves' test "${PIPESTATUS[0]}" = 0 -a ! -s "$outside/err"
if [ -w /dev/full ]; then
    "$SOFTLENS" detect a.png b.jpg --json -o - >/dev/full 2>"$outside/err"
    check 'a disk that is full: status 1' test $? = 1
    check '  a line' one_line
fi
check 'no file is written' test "$before" = "$(snapshot)"
refused 2 'add --json' detect a.png -o -
refused 2 'leave --format out' detect a.png --json --format coco -o -
refused 2 'leave --overlay-style out' detect a.png --json --overlay-style blur -o -

# What is drawn
for style in boxes labels blur; do
    accepted detect a.png --overlay-style "$style" --max 1 -o "$style.png"
    exists "$style.png"
done
check 'styles differ' test "$(sha256sum a.png boxes.png labels.png blur.png | cut -d ' ' -f 1 | sort -u | wc -l)" = 4
check 'what is blurred is not seen' "$MAKER" is-smooth blur.png blur.json
check '  what is in a box is' test "$("$MAKER" is-smooth boxes.png boxes.json 2>/dev/null; echo $?)" = 1
accepted detect a.png --overlay-style crop --max 3 -o crops/
check 'three crops' test "$(find crops -name 'a.[123]-thing_[0-4].detected.png' | wc -l)" = 3
check 'crops replace the overlay' test ! -e crops/a.detected.png
accepted detect b.jpg --overlay-style crop --max 1 -o single.png
check 'crops of the kind that was asked for' test "$(head -c 4 single.1-*.detected.png | tail -c 3)" = PNG
rm single.*
cp a.png crops
run detect crops --overlay-style crop --max 3 --overwrite --quiet
check 'there are no crops of crops' test "$status" = 0 -a "$(find crops -name '*.png' | wc -l)" = 4
crop=$(find crops -name 'a.1-*')
cp b.jpg "$crop"
run detect crops/a.png "$crop" --overlay-style crop --max 1 --overwrite
[ "$status" = 3 ] && cmp b.jpg "$crop" &&
    grep -q "a\.1-thing_.*: is an input and also a crop of crops/a\.png; leave one" "$outside/err"
report $? 'no crop takes the place of an input'
refused 2 'a\.png and crops/a\.png would both become x/a\.N-LABEL\.detected\.png' \
    detect a.png crops/a.png --overlay-style crop --format coco -o x/
accepted detect a.png --no-overlay -o data/
check 'the data alone' test "$(ls data)" = a.json
accepted detect a.png --no-overlay -o named.json
accepted detect a.png --no-overlay --format coco -o named.coco.json
accepted detect a.png --no-overlay --format coco -o given.json
accepted detect a.png --no-overlay -o given.txt
echo photograph >other.heic
accepted detect a.png --no-overlay --overwrite -o other.heic
check 'a picture of a kind that is not written stays' grep -q photograph other.heic
check '  and the data is beside it' test -s other.json
rm other.heic other.json
accepted detect a.png --no-overlay -o given
check 'the names that were given' test "$(ls named* given*)" = \
    $'given\ngiven.json\ngiven.txt\nnamed.coco.json\nnamed.json'
refused 2 'add --format csv' detect a.png --no-overlay -o boxes.csv
refused 2 'add --format yolo' detect a.png --no-overlay --format json,csv -o boxes.yolo
check 'alike under either name' cmp named.coco.json given.json
accepted detect a.png --no-overlay --format json,csv -o both.csv
check 'both beside each other' test "$(ls both*)" = $'both.csv\nboth.json'
refused 2 'contradict' detect a.png --no-overlay --overlay-style blur -o x.png
sign b.jpg signed.jpg
for how in --overlay-style=boxes --overlay-style=crop --overlay-style=blur; do
    accepted detect signed.jpg $how --max 2 -o told/
    check "$how: whose it is" tells told/*.jpg
    accepted detect signed.jpg $how --max 2 -o bare/ --strip-metadata
    check '  is told to nobody' tells_nothing bare/*.jpg
    rm -r told bare
done
rm signed.jpg

# Every format
accepted detect a.png --format jsonl,coco,yolo,labelme,cvat,csv --no-overlay -o one.png
exists one.jsonl one.coco.json one.yolo/data.yaml one.json one.cvat.xml one.csv
mkdir pics
cp a.png b.jpg pics
accepted detect pics --format coco,csv,jsonl,cvat,yolo -o out/
exists out/coco.json out/detections.csv out/detections.jsonl out/cvat.xml out/yolo/data.yaml \
    out/yolo/labels/a.txt out/yolo/labels/b.txt out/a.detected.png out/b.detected.jpg
accepted detect pics --format coco,csv,jsonl,cvat,yolo -o out/ --overwrite
accepted detect a.png --format yolo --no-overlay -o one.png --overwrite
run detect a.png --format yolo --no-overlay -o one.png
[ "$status" = 1 ] && grep -q 'one\.yolo: exists' "$outside/err"
report $? 'a folder of labels exists'
cp a.png coco.png
refused 2 'coco\.json: would be a file of all pictures and also of coco\.png' \
    detect coco.png --format json,coco -o both/
rm coco.png
refused 2 'say where with -o' detect a.png b.jpg --format coco
refused 2 'none of json, jsonl' detect a.png --format bmp
refused 2 'both be NAME.json' detect a.png --format json,labelme -o x/
refused 2 'several pictures need a folder' detect a.png b.jpg -o x.png
refused 2 'end it in .png or .jpg' detect a.png -o x
accepted detect pics
check 'what was drawn is no picture of its own' test "$(find pics -type f | wc -l)" = 6
run detect pics --quiet
[ "$status" = 1 ] && [ "$(grep -c 'exists; name another output or add --overwrite' "$outside/err")" = 2 ]
report $? 'what exists is told for each picture'
accepted detect pics --quiet --overwrite
run detect pics --overwrite
[ "$status" = 0 ] && grep -q '2 pictures were drawn by an earlier run' "$outside/err"
report $? 'what is passed over is told'
mkdir drawn
cp pics/a.detected.png drawn
refused 1 'name one to look at it' detect drawn
cp a.png pics/b.png
refused 2 'pics/b\.png and pics/b\.jpg would both become y/b\.json; softlens batch detect' \
    detect pics/b.png pics/b.jpg -o y/
refused 2 'would both become (\./)?pics/b\.json' detect pics/b.png ./pics/b.jpg --overwrite
ln -s pics alias
refused 2 'would both become (pics|alias)/b\.json' detect alias/b.png pics/b.jpg --overwrite
rm alias

# What is there already
cp a.png c.png
run detect a.png c.png --json
[ "$status" = 3 ] && grep -q '^{"input":"a.png","error":"a\.[a-z.]*: exists' "$outside/out" &&
    grep -q '^{"input":"c.png","written":' "$outside/out"
report $? 'the others are done'
rm c.json
accepted detect c.png --no-overlay -o c.json
refused 1 'is the input itself' detect a.png -o a.png --overwrite
ln a.png same.png
refused 1 'is the input itself' detect a.png -o same.png --overwrite
refused 2 'is an input and also an output' detect a.png b.jpg c.png a.detected.png --overwrite
refused 1 'there is no directory nowhere' detect a.png -o nowhere/x.png
rm same.png c.png

# What is found
accepted detect a.png --classes 'thing 1, thing 3' --json -o c1.png
check 'two classes' test "$(grep -o '"label":"[^"]*"' "$outside/out" | sort -u | wc -l)" -le 2
refused 2 'finds no "zebra"; it finds thing 0, thing 1' detect a.png --classes zebra -o x.png
refused 2 'names none' detect a.png --classes , -o x.png
accepted detect a.png --score 0.999999 -o none.png --format coco,csv,cvat,yolo,jsonl
says '^a\.png: 0 objects'
exists none.png none.coco.json none.csv none.cvat.xml none.yolo/data.yaml none.jsonl
check 'an empty label file' test -e none.yolo/labels/a.txt
accepted detect a.png --max 2 -o two.png
says '^a\.png: 2 objects'
for nms in hard linear gaussian none; do
    accepted detect a.png --nms "$nms" -o "nms-$nms.png" --no-overlay
done
check 'ways of joining differ' test "$(cksum <nms-hard.json)" != "$(cksum <nms-none.json)"
accepted detect a.png --tta flip --tile 64 --size 96x96 -o all.png
# Each option alone reaches the detector
found() # ARGUMENTS...: what is found, as JSON, in $outside/found
{
    run detect a.png --json -o - "$@"
    sed 's/.*"detections"//' "$outside/out" >"$outside/found"
}
otherwise() # ARGUMENTS...: something else is found than without them
{
    found "$@"
    [ "$status" = 0 ] && grep -q thing "$outside/found" && ! cmp -s "$outside/found" "$outside/plain"
    report $? "finds otherwise: $*"
}
found
cp "$outside/found" "$outside/plain"
found
check 'the same is found each time' cmp "$outside/found" "$outside/plain"
for change in '--max 5' '--score 0.999' '--nms hard' '--nms linear' '--nms none' '--sigma 0.1' '--tta flip' \
    '--tile 64' '--size 96x96'; do
    # shellcheck disable=SC2086 # one word an option
    otherwise $change
done
otherwise --classes 'thing 1'
for nms in hard linear; do
    found --nms $nms
    cp "$outside/found" "$outside/nms"
    found --nms $nms --iou 0.1
    check "--iou reaches --nms $nms" test "$(cksum <"$outside/found")" != "$(cksum <"$outside/nms")"
done
refused 2 'is of --nms hard' detect a.png --iou 0.4 -o x.png
refused 2 'is of --nms gaussian' detect a.png --nms hard --sigma 0.4 -o x.png
for threads in 1 2 3; do
    accepted detect a.png b.jpg --format csv --threads "$threads" -o "threads$threads/" -q
    check "$threads threads: the same" \
        cmp threads1/detections.csv "threads$threads/detections.csv"
done

# With the others
accepted detect a.png --refine classifier.safetensors --json -o refined.png
says '"class":"thing [0-4]".*"refined":'
"$SOFTLENS" enroll my.gallery чайка a.png b.jpg --model classifier.safetensors --quiet
accepted detect a.png --refine classifier.safetensors --gallery my.gallery --only-gallery -o gull.png
check 'columns are those of the terminal' grep -qa '^  чайка            ' "$outside/out"
refused 2 'is of --refine' detect a.png --unknown-rate 0.1 -o x.png
refused 1 'cannot find objects' detect a.png --model classifier.safetensors -o x.png
refused 1 'cannot classify' detect a.png --refine lmd.safetensors -o x.png
mkdir models
cp lmd.safetensors models/lmd-vit-small.safetensors
SOFTLENS_MODELS=models accepted detect a.png --deblur \
    --model "$golden/retina-plain.safetensors" -o sharp.png
SOFTLENS_MODELS=models otherwise --deblur --model "$golden/retina-plain.safetensors"

# Pictures that fail
head -c 300 b.jpg >broken.jpg
run detect broken.jpg a.png missing.png -o mixed/ --format coco
[ "$status" = 3 ] && [ "$(grep -c '^softlens: ' "$outside/err")" = 2 ]
report $? 'two of three fail'
exists mixed/coco.json mixed/a.detected.png
refused 1 'broken\.jpg' detect broken.jpg
cp b.jpg cut.jpg
truncate -s -40 cut.jpg
refused 1 'cut\.jpg.* allowed \(--allow-truncated\)$' detect cut.jpg
run detect cut.jpg --allow-truncated --no-overlay -o cut.json
check '  and then it is' test "$status" = 0 -a -s cut.json
rm cut.*

# Names that clash in one format alone are told before any work
mkdir twins
cp a.png twins/one.png
cp b.jpg twins/one.jpg
refused 2 'twins/one\.(jpg|png) and twins/one\.(jpg|png) would both become z/yolo/labels/one\.txt' \
    detect twins --format jsonl,csv,yolo -o z/
mkdir -p held/yolo/labels
: >held/yolo/labels/a.txt
run detect a.png b.jpg --no-overlay --format yolo,csv -o held --overwrite
check 'labels of an earlier run are replaced' test "$status" = 0 -a -s held/yolo/labels/a.txt
rm -r twins held

# With --json every line is an object
accepted detect a.png b.jpg --no-overlay --format jsonl,coco --json -o objects/
check 'and no name of a file' test "$(grep -c '^{.*}$' "$outside/out")" = "$(wc -l <"$outside/out")"
rm -r objects

# No room: what is written for all pictures together is lost, and no more are computed
limited() # KIB ARGUMENTS...: the program, whose files end there
{
    (
        ulimit -f "$1"
        shift
        "$SOFTLENS" "$@" >"$outside/out" 2>"$outside/err" </dev/null
    )
    status=$?
}
mkdir many
for i in {10..29}; do cp a.png "many/$i.png"; done
limited 32 detect many --no-overlay --format jsonl -o narrow/
[ "$status" = 1 ] && grep -q 'narrow/detections\.jsonl: .*File too large' "$outside/err" &&
    grep -q 'data of all pictures is lost; make room.*with --overwrite' "$outside/err" &&
    [ "$(wc -l <"$outside/err")" = 2 ] && [ "$(grep -c objects "$outside/out")" -lt 15 ]
report $? 'one true sentence, what to do, and an end'
check '  nothing half is there' test -z "$(find narrow -type f)"
accepted detect many --no-overlay --format jsonl -o narrow/
rm -r many narrow

# No room for one picture: nothing of it stays that would stand in the way of the next run
make picture big.png 400x300
for format in json yolo csv,yolo; do
    limited 2 detect big.png --format "$format" --max 2
    check "no room, $format: status 1" test "$status" = 1
    check '  nothing of it is there' test "$(echo big.*)" = big.png
done
accepted detect big.png
echo '{}' >big.json
rm big.detected.png
limited 2 detect big.png --overwrite
check 'what was there before stays' test "$status" = 1 -a -s big.json
rm big.*
cp a.png cut.png
accepted detect cut.png --overlay-style crop --max 2
rm cut.1-* cut.json
run detect cut.png --overlay-style crop --max 2
[ "$status" = 1 ] && grep -q 'cut\.2-.* exists' "$outside/err" && [ "$(echo cut.*)" = "$(echo cut.2-* cut.png)" ]
report $? 'no crop of a picture that failed'
rm cut.*

# How good it is
category='"categories": [{"id": 1, "name": "thing 0"}, {"id": 7, "name": "thing 3"}]'
cat >val.json <<END
{"images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 150}], $category,
 "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 60], "area": 3000,
 "iscrowd": 0}]}
END
accepted eval detect --annotations val.json
says 'AP50'
accepted eval detect --annotations val.json --images . --json --nms linear
mkdir annotated
cp val.json annotated
refused 1 'annotated/a\.png' eval detect --annotations annotated/val.json
accepted eval detect --annotations annotated/val.json --images . --json --nms linear
says '"linear": \{'
says '"hard": \{'
image() # ID NAME
{
    echo "{\"id\": $1, \"file_name\": \"$2\", \"width\": 1, \"height\": 1}"
}
sed "s/\"images\": \[/&$(image 2 b.jpg), $(image 3 x.png), $(image 4 y.png), /" val.json >some.json
refused 1 'x\.png: cannot be read: No such file.*2 of the 4 annotated pictures' eval detect --annotations some.json
refused 2 'name the --annotations' eval detect
echo '[{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 60], "score": 0.4},
       {"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 60], "score": 0.9}]' >found.json
accepted eval detect --annotations val.json --results found.json --json
says '"detections": 2'
says '"AP": 1\.0'
echo '[{"image_id": 1, "category_id": 7, "bbox": [90, 10, 50, 60], "score": 0.4}]' >found.json
accepted eval detect --annotations val.json --results found.json --json
says '"AP": 0\.0'
for option in model=x images=. nms=hard iou=0.4 sigma=0.4 max=5 tta=flip tile=64 size=64x64 device=cpu \
    precision=f32; do
    refused 2 "no --${option%=*} is asked" eval detect --annotations val.json --results found.json "--$option"
done
refused 2 'is of --nms hard' eval detect --annotations val.json --iou 0.4
refused 2 'is of --nms gaussian' eval detect --annotations val.json --nms linear --sigma 0.4
refused 1 'coco\.json: is no list' eval detect --annotations val.json --results mixed/coco.json
refused 2 'cannot measure' eval classify --annotations val.json
refused 1 'no-such' eval detect --annotations no-such.json
sed 's/200/201/' val.json >wrong.json
refused 1 'the annotations say 201 x 150' eval detect --annotations wrong.json
sed 's/thing/zebra/g' val.json >other.json
refused 2 "none of the model's classes" eval detect --annotations other.json
echo '[1, 2]' >list.json
refused 1 'list\.json' eval detect --annotations list.json
finish
