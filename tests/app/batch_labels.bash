# SPDX-License-Identifier: MIT
# tests/app/batch_labels.bash: softlens batch classify: tables, sorted folders, chains.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make soft s.safetensors good
make soft u.safetensors unknown
mkdir -p in/sub
for name in in/a.png in/b.jpg in/sub/c.png in/sub/d.jpg; do
    make picture "$name" $((60 + ${#name}))x$((50 + 3 * ${#name}))
done

accepted batch classify in -o labels.csv --model s.safetensors
check 'a line for each class of each picture' test "$(grep -c '^[a-z/]*\.[a-z]*,[1-5],' labels.csv)" = 20
(cd in && "$SOFTLENS" classify --csv --recursive --model ../s.safetensors a.png b.jpg sub/c.png sub/d.jpg) \
    >alone.csv
check 'what softlens classify --csv says' diff <(sed 's/,\(-\?[0-9]*\.[0-9]\{4\}\)[0-9]*/,\1/g' alone.csv) \
    <(sed 's/,\(-\?[0-9]*\.[0-9]\{4\}\)[0-9]*/,\1/g' labels.csv)
cp labels.csv first.csv
accepted batch classify in -o labels.csv --model s.safetensors
says '4 done before'
check 'the second run writes the same' cmp labels.csv first.csv
rm labels.csv
accepted batch classify in -o labels.csv --model s.safetensors
check 'a table that is gone is back' cmp labels.csv first.csv
mv in/b.jpg away.jpg
accepted batch classify in -o labels.csv --model s.safetensors
check 'a picture that is gone is in it no more' diff labels.csv <(grep -v ^b.jpg first.csv)
mv away.jpg in/b.jpg
accepted batch classify in -o labels.csv --model s.safetensors
check 'and is again' cmp labels.csv first.csv
echo damaged >in/e.png
run batch classify in -o labels.csv --model s.safetensors
check 'a failure: status 3' test "$status" = 3
check 'and a row' grep -q '^e.png,,.*in/e.png: not PNG, JPEG' labels.csv
rm in/e.png

"$SOFTLENS" enroll my.gallery heron in/a.png in/b.jpg --model s.safetensors --quiet
accepted batch classify in -o labels.jsonl --model s.safetensors --top 2 --gallery my.gallery
check 'classes of a gallery, too' grep -q '"label":"heron"' labels.jsonl
check 'JSON lines by the name of the file' "$MAKER" is-json labels.jsonl 4
mkdir folder
accepted batch classify in -o folder --jsonl --model s.safetensors
check 'a folder gets labels.jsonl' "$MAKER" is-json folder/labels.jsonl 4
for form in '' --jsonl; do
    # shellcheck disable=SC2086 # one or none
    accepted batch classify in -o rows.txt --model s.safetensors $form
done
says '^rows.txt: 0 pictures done'
check 'the table is of the form asked for, though all is done' "$MAKER" is-json rows.txt 4

# What decides the labels has them made anew: each option against what a run without it left
accepted batch classify in -o base/ --model s.safetensors --gallery my.gallery
for change in '' '--top 5' '--unknown-rate 0.9' --no-unknown '--top 2' --only-gallery '--sort-into heap'; do
    rm -rf anew
    cp -a base anew
    # shellcheck disable=SC2086 # one word an option
    accepted batch classify in -o anew/ --model s.safetensors --gallery my.gallery $change
    case $change in
    '' | '--top 5') says '^anew/*: 0 pictures done' ;; # which is what none says
    *) says '^anew/*: 4 pictures done' ;;
    esac
done
accepted batch classify in -o base/ --model s.safetensors
says '^base/*: 4 pictures done'
rm -rf base anew heap
accepted batch classify in -o anew.csv --model s.safetensors --gallery my.gallery
"$SOFTLENS" enroll my.gallery crane in/sub/c.png --model s.safetensors --quiet
accepted batch classify in -o anew.csv --model s.safetensors --gallery my.gallery
says '^anew.csv: 4 pictures done'
rm -rf anew.csv .anew.csv.softlens

# A label leads out of no folder
"$SOFTLENS" enroll up.gallery ../up in --recursive --model s.safetensors --quiet
accepted batch classify in -o up.csv --model s.safetensors --gallery up.gallery --only-gallery --no-unknown \
    --sort-into way/out
check 'a label of dots and slashes' test "$(find way -type f | wc -l)" = 4 -a -f way/out/_._up/a.png
rm -rf way up.csv .up.csv.softlens up.gallery

accepted batch classify in -o sorted.csv --model s.safetensors --sort-into sorted
check 'each picture under its label' test "$(find sorted -type f | wc -l)" = 4
label=$(sed -n 's/^a.png,1,\([^,]*\),.*/\1/p' sorted.csv)
check '  as a link' test in/a.png -ef "sorted/$label/a.png"
accepted batch classify in -o sorted.csv --model s.safetensors --sort-into sorted/
says '^sorted.csv: 0 pictures done' # as a shell completes the folder's name
accepted batch classify in -o unknown.csv --model u.safetensors --sort-into sorted2
check 'unknown ones apart' test "$(find sorted2/unknown -type f | wc -l)" = 4

# Another model says otherwise: what was sorted moves along, also where it lies among the pictures
accepted batch classify in -o in/s.csv --model s.safetensors --sort-into in/sorted
accepted batch classify in -o in/s.csv --model s.safetensors --sort-into in/sorted
says '4 done before$'
accepted batch classify in -o in/s.csv --model u.safetensors --sort-into in/sorted
check 'sorted anew' test "$(find in/sorted -type f | wc -l)" = 4 -a \
    "$(find in/sorted/unknown -type f | wc -l)" = 4
rm -r in/sorted in/s.csv in/.s.csv.softlens
# Where pictures are named, what was sorted is told by the journal
for again in 1 2; do
    find in -name '*.[jp]*g' -print0 >list
    run batch classify --files0-from list -o s.csv --model s.safetensors --sort-into in/sorted --json
    says "\"pictures\":4,.*\"left_out\":$((again == 1 ? 0 : 4)),"
done
cp in/a.png "in/sorted/$label/mine.png"
run batch classify in/a.png in/sorted/*/*.png in/sorted/*/in/*.png -o s.csv --model s.safetensors --sort-into in/sorted --json
says '"pictures":2,"done":1,.*"left_out":1,'
mkdir -p "deep/$label"
cp in/a.png "deep/$label"
for again in 0 1; do
    (cd "deep/$label" && "$SOFTLENS" batch classify a.png -o ../s.csv --model ../../s.safetensors --sort-into .. \
        --json) >"$outside/out"
    says "\"pictures\":1,.*\"done_before\":$again,"
done
rm -r in/sorted s.csv .s.csv.softlens deep list

# What others keep where pictures are sorted to, and journals that were tampered with
label=$(sed -n 's/^a.png,1,\([^,]*\),.*/\1/p' sorted.csv)
for how in link copy; do
    into=kept
    if [ $how = copy ]; then
        into=/dev/shm/${work##*/}
        if [ ! -w /dev/shm ] || [ "$(stat -c %d /dev/shm)" = "$(stat -c %d .)" ]; then
            continue
        fi
    fi
    mkdir -p "$into/$label"
    echo theirs >"$into/$label/a.png"
    run batch classify in -o k.csv --model s.safetensors --sort-into "$into"
    check "$how: what stands in the way: status 3" test "$status" = 3
    check '  is named' grep -q "$into/$label/a.png: exists and was not made by a batch" "$outside/err"
    check '  and stays' test "$(cat "$into/$label/a.png")" = theirs
    accepted batch classify in -o k.csv --model s.safetensors --sort-into "$into" --overwrite
    check '  until it may go' cmp in/a.png "$into/$label/a.png"
    accepted batch classify in -o k.csv --model s.safetensors --sort-into "$into" --top 2
    accepted batch classify in -o k.csv --model u.safetensors --sort-into "$into"
    check '  what we sorted moves along' test "$(find "$into" -type f | wc -l)" = 4 -a \
        "$(find "$into/unknown" -type f | wc -l)" = 4
    rm "$into/unknown/a.png"
    echo 'theirs, and longer' >"$into/unknown/a.png"
    accepted batch classify in -o k.csv --model s.safetensors --sort-into "$into"
    check '  what is there instead of it stays' grep -q theirs "$into/unknown/a.png"
    rm -r "$into" k.csv .k.csv.softlens
done
tamper() # FROM TO: in the journal of k.csv, with the checksums that it takes
{
    while IFS= read -r line; do
        if [[ $line = *$'\t'* ]]; then
            line=${line#*$'\t'}
            line=${line//"$1"/"$2"}
            printf '%s\t%s\n' "$(printf %s "$line" | gzip -c | tail -c 8 | od -An -tx4 -N 4 | tr -d ' ')" "$line"
        else
            printf '%s\n' "$line"
        fi
    done <.k.csv.softlens/1-of-1.journal >tampered
    mv tampered .k.csv.softlens/1-of-1.journal
}
for folder in .. . ''; do
    mkdir -p deep/sorted
    cp in/a.png in/b.jpg deep
    accepted batch classify deep -o k.csv --model s.safetensors --sort-into deep/sorted
    tamper '"sorted":"'"$label" '"sorted":"'"$folder"
    accepted batch classify deep -o k.csv --model u.safetensors --sort-into deep/sorted
    check "a journal that says \"$folder\" removes no picture" test -f deep/a.png -a -f deep/b.jpg
    rm -r deep k.csv .k.csv.softlens
done
mkdir -p "deep/$label"
cp in/a.png "deep/$label"
accepted batch classify "deep/$label" -o k.csv --model s.safetensors --sort-into deep
accepted batch classify "deep/$label" -o k.csv --model u.safetensors --sort-into deep
check 'a picture that lies where it is sorted to stays' test -f "deep/$label/a.png"
rm -r deep k.csv .k.csv.softlens

# A chain: what is deblurred is what is classified
accepted batch deblur,classify in -o out --model s.safetensors --model m.safetensors --sort-into s3
check 'pictures and labels' test -f out/sub/d.jpg -a -f out/labels.csv
check 'what is sorted is what came out' test "$(find out -name a.png)" -ef "$(find s3 -name a.png)"
accepted batch deblur,classify in -o o5 --model s.safetensors --model m.safetensors --sort-into s5 \
    --min-blur 0.99
accepted batch deblur,classify in -o o5 --model s.safetensors --model m.safetensors --sort-into s5
check 'what was sorted as it was follows, too' test "$(find s5 -type f | wc -l)" = 4 -a \
    "$(find o5 -name a.png)" -ef "$(find s5 -name a.png)"
refused 2 'another already' batch deblur in -o o4 --model m.safetensors --model m.safetensors
refused 2 'gives? a gallery|contradict' batch classify in -o x.csv --no-unknown --unknown-rate 0.1 \
    --model s.safetensors
run batch classify in -o x.csv --model s.safetensors --gallery m.safetensors
check 'a gallery that is none: no success' test "$status" != 0 -a ! -e x.csv

# What the table, the report and the log would take the place of
mkdir mine
cp in/a.png mine/x.png
cp in/b.jpg mine/y.jpg
cp in/a.png mine/z.png
refused 1 'mine/y.jpg: is a picture to work on' batch classify mine/x.png mine/y.jpg -o mine/y.jpg \
    --model s.safetensors
refused 1 'is a picture' batch classify mine/x.png mine/y.jpg -o mine/y.jpg --overwrite \
    --model s.safetensors
refused 1 'mine/z.png: exists' batch classify mine/x.png -o mine/z.png --model s.safetensors
refused 1 'report mine/x.png: is a picture' batch classify mine -o t.csv --report mine/x.png --overwrite \
    --model s.safetensors
refused 1 'report in/a.png: exists' batch classify mine -o t.csv --report in/a.png --model s.safetensors
refused 1 'log mine/x.png: is a picture' batch classify mine -o t.csv --log mine/x.png --model s.safetensors
# Nor of each other, and nothing of it is standard output
refused 2 '-report \./t\.csv: is a table' batch classify mine/x.png -o t.csv --report ./t.csv --model s.safetensors
refused 2 '-log t/labels\.csv: is a table' batch classify mine/x.png -o t/ --log t/labels.csv --model s.safetensors
refused 2 '-report t\.csv: is a table' batch classify mine/x.png -o t.csv --report t.csv --shard 1/2 \
    --model s.safetensors
refused 2 '-report \./l: is the --log' batch classify mine/x.png -o t.csv --log l --report ./l --model s.safetensors
refused 2 '-o -: results are not' batch classify mine/x.png -o - --model s.safetensors
refused 2 '-log -: results are not' batch classify mine/x.png -o t.csv --log - --model s.safetensors
refused 2 '-report -: results are not' batch merge t.csv --report -
# Nor of a pipe, a device, or what leads to an open file
mkfifo mine/pipe
ln -s /proc/self/fd/1 mine/stdout
ln -s stdout mine/link
for place in pipe stdout link; do
    refused 1 "report mine/$place: is not a regular file" batch classify mine -o t.csv --report mine/$place \
        --overwrite --model s.safetensors
    refused 1 "^softlens: mine/$place: is not a regular file" batch classify mine -o mine/$place --overwrite \
        --model s.safetensors
done
rm mine/pipe mine/stdout mine/link
mkdir taken
echo theirs >taken/labels.csv
refused 1 'taken/labels.csv: exists' batch classify mine -o taken --model s.safetensors
refused 1 'taken/labels.csv: exists' batch classify mine -o taken --model s.safetensors --shard 1/2
refused 1 'taken/labels.csv: exists' batch classify mine -o taken --model s.safetensors --dry-run
accepted batch classify mine -o taken --model s.safetensors --overwrite --report taken/r.html
accepted batch classify mine -o taken/ --model s.safetensors --top 1 --report taken/r.html
check 'until it may go, and then it is ours' grep -q '^x.png,1,' taken/labels.csv
(cd taken && "$SOFTLENS" batch classify ../mine -o . --model ../s.safetensors --top 2 --quiet)
check '  from wherever' test "$(grep -c '^x.png' taken/labels.csv)" = 2
cp in/a.png mine/other.html
run batch merge taken --report mine/other.html
check 'nor is a file of another kind a report' test "$status" = 1 -a "$(cmp in/a.png mine/other.html)" = ''

# Shards each have their table
for shard in 1 2; do
    accepted batch classify in -o parts.csv --model s.safetensors --shard $shard/2
done
check 'tables of shards, together' diff <(sort first.csv) \
    <({ cat parts.1-of-2.csv; tail -n +2 parts.2-of-2.csv; } | sort)
accepted batch merge parts.csv
check 'merged: that of one run' cmp parts.csv first.csv
mv in/b.jpg away.jpg
for shard in 1 2; do
    accepted batch classify in -o parts.csv --model s.safetensors --shard $shard/2
done
accepted batch merge parts.csv --json
says '^{"output":"parts.csv","done":3,"failed":0,"shards":2,"complete":true}$'
check 'a picture that is gone is in it no more' diff parts.csv <(grep -v ^b.jpg first.csv)
mv away.jpg in/b.jpg
for shard in 1 2; do
    accepted batch classify in -o parts.csv --model s.safetensors --shard $shard/2
    says '^parts.csv: 0 pictures done'
done
accepted batch merge parts.csv
check 'and is again' cmp parts.csv first.csv
# What was only not looked at is not gone
for shard in 1 2; do
    accepted batch classify in -o parts.csv --model s.safetensors --shard $shard/2 --newer in/a.png
    accepted batch classify in -o parts.csv --model s.safetensors --shard $shard/2 --exclude sub
    accepted batch classify in -o parts.csv --model s.safetensors --shard $shard/2 --include '*.png'
done
accepted batch merge parts.csv
check 'by --newer, --exclude, --include' cmp parts.csv first.csv
mv in/b.jpg away.jpg
mkdir -p "in/sub$(printf '/d%.0s' {1..130})" # too deep to be read
for shard in 1 2; do
    run batch classify in -o parts.csv --model s.safetensors --shard $shard/2
    check "beside a folder that cannot be read, slice $shard" test "$status" = 3
done
accepted batch merge parts.csv
check '  it stays' cmp parts.csv first.csv
rm -r in/sub/d
mkdir -p disk other
mv away.jpg disk/b.jpg
cp in/a.png other/z.png
accepted batch classify disk other -o disks.csv --model s.safetensors
cp disks.csv disks.sums
mv disk/b.jpg in
accepted batch classify disk other -o disks.csv --model s.safetensors
accepted batch merge disks.csv
check '  nor what was on a disk that is not there' cmp disks.csv disks.sums
# Nor below a folder that was named, be it by a link; what is gone beside it is
mkdir -p tree/full tree/disk away
for name in tree/full/a.png tree/full/z.png tree/disk/b.png away/c.png; do cp in/a.png $name; done
ln -s ../away/c.png tree/c.png
accepted batch classify tree -o tree.csv --model s.safetensors
grep -v ^full/z.png tree.csv >tree.sums
rm tree/full/z.png tree/disk/b.png away/c.png
run batch classify tree -o tree.csv --model s.safetensors
accepted batch merge tree.csv
check 'nor what was on one that is in the tree, or that a link leads to' cmp tree.csv tree.sums
rm -r tree/disk tree/c.png
accepted batch classify tree -o tree.csv --model s.safetensors
accepted batch merge tree.csv
check '  until it is gone as a whole' diff tree.csv <(grep -v -e ^disk -e ^c.png tree.sums)
# Who was found by --include first is gone for a run without it that looks for it, too
cp in/a.png tree/scan
cp in/a.png tree/y.png
accepted batch classify tree -o inc.csv --model s.safetensors --include '*.png' --include scan
rm tree/y.png tree/scan
accepted batch classify tree -o inc.csv --model s.safetensors
accepted batch merge inc.csv
check '--include calls nobody else gone' test "$(grep -c ,1, inc.csv)" = 2
check '  but who is gone' test "$(grep -c ^y.png inc.csv)" = 0
# Batches that share a folder do not call each other's pictures gone
mkdir shared
for _ in 1 2 3; do
    for from in in other; do
        accepted batch classify $from -o shared/ --model s.safetensors
    done
    grep -vc $'^[0-9a-f]*\t[SE]\t' shared/.softlens/1-of-1.journal >>told
done
check 'nor tell them again' test "$(uniq told | wc -l)" = 1
accepted batch merge parts.csv --jsonl
check 'as JSON lines where they are asked for' "$MAKER" is-json parts.csv 4
for output in lines.txt lines/; do
    for shard in 1 2; do
        accepted batch classify in -o $output --jsonl --model s.safetensors --shard $shard/2
    done
    accepted batch merge $output
done
check '  or were by the shards' "$MAKER" is-json lines.txt 4
check '  in a folder, too' "$MAKER" is-json lines/labels.jsonl 4
accepted batch classify in -o rows/ --model s.safetensors
for again in 1 2; do
    accepted batch merge rows --jsonl
    check "  where no run wrote them, time $again" "$MAKER" is-json rows/labels.jsonl 4
done
finish
