# SPDX-License-Identifier: MIT
# tests/app/batch.bash: softlens batch: which pictures it finds, where they go, what it does again.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make soft s.safetensors good
make picture one.png 64x64
make picture two.jpg 80x60
export SOFTLENS_MODELS="$work/m.safetensors"

# plant NAME...: pictures, by ending.
plant()
{
    local name
    for name in "$@"; do
        mkdir -p -- "$(dirname -- "$name")"
        case $name in
            *.png) cp one.png "$name" ;;
            *) cp two.jpg "$name" ;;
        esac
    done
}

files() # FOLDER: what is in it, without the journals
{
    (cd "$1" && find . -type f -not -path '*/.*softlens/*' | sed 's|^\./||' | sort)
}

holds() # NAME FOLDER FILE...
{
    local name=$1 folder=$2
    shift 2
    check "$name" diff <(printf '%s\n' "$@" | sort) <(files "$folder")
}

# did DONE BEFORE FAILED FAILED_BEFORE STATUS: what the last run with --json told
did()
{
    check "  $1 done, $2 before, $3 failed, $4 failed before, status $5" eval \
        "grep -q '\"done\":$1,.*\"done_before\":$2,\"failed\":$3,\"failed_before\":$4,' \
        '$outside/out' && [ $status = $5 ]"
}

# Wrong use
mkdir empty
plant in/a.png
refused 2 '"sharpen" is nothing' batch sharpen in -o out
refused 2 'named twice' batch deblur,deblur in -o out
refused 2 '-o' batch deblur in
refused 2 'name folders' batch deblur -o out
refused 2 'contradict' batch deblur in -o out --dense --keep-threshold 0.5
refused 2 '--shard 0/4' batch deblur in -o out --shard 0/4
refused 2 '--shard 5/4' batch deblur in -o out --shard 5/4
refused 2 '--shard 1/4x' batch deblur in -o out --shard 1/4x
refused 2 'neither a file nor a date' batch deblur in -o out --newer yesterday
refused 2 'lies in the output' batch deblur in -o in
refused 2 'lies in the output' batch deblur in -o .
refused 2 'is a file' batch deblur in -o one.png
refused 2 'at least 256M' batch deblur in -o out --memory 64M
refused 2 'no step' batch deblur in -o out --model s.safetensors
refused 1 'no pictures' batch deblur empty -o out --dry-run

# The same tree
plant in/b/c/d.jpg in/b/e.JPG in/.hidden/f.png in/.g.png in/b/out.png
echo no >in/b/notes.txt
run batch deblur in -o out --json
did 4 0 0 0 0
holds 'the same tree' out a.png b/c/d.jpg b/e.JPG b/out.png
check 'a picture of the same size' "$MAKER" is-picture out/b/c/d.jpg 80x60
accepted deblur in/a.png -o alone.png
check 'the same as of softlens deblur' cmp alone.png out/a.png
before=$(snapshot | grep -v journal)
run batch deblur in/ -o out/ --json
did 0 4 0 0 0
check 'the second run touches nothing' test "$before" = "$(snapshot | grep -v journal)"

# What has changed
touch in/a.png
before=$(snapshot | grep ' ./out/' | grep -v journal)
run batch deblur in -o out --json
did 0 4 0 0 0
check 'another time alone changes nothing' test "$before" = "$(snapshot | grep ' ./out/' | grep -v journal)"
cp two.jpg in/a.png
plant in/new.png
run batch deblur in -o out --json
did 2 3 0 0 0
rm out/b/out.png
: >out/b/e.JPG
run batch deblur in -o out --json
did 2 3 0 0 0
check 'an output that was gone is back' "$MAKER" is-picture out/b/out.png 64x64
run batch deblur in -o out --json --threads 1 --jobs 2
did 0 5 0 0 0
truncate -s 30000 in/new.png # bytes behind the end are none of the picture's
run batch deblur in -o out --json
did 1 4 0 0 0
cp two.jpg in/new.png
truncate -s 30000 in/new.png
run batch deblur in -o out --json
did 1 4 0 0 0
run batch deblur in -o out --json --quality 50
did 5 0 0 0 0
rm -rf in/a.png out

# Failures
plant in/a.png
echo damaged >in/bad.png
run batch deblur in -o out --json
did 5 0 1 0 3
check 'a line that names it' grep -q '^softlens: in/bad.png: ' "$outside/err"
run batch deblur in -o out --json
did 0 5 0 1 3
run batch deblur in -o out --json --retry-failed
did 0 5 1 0 3
cp one.png in/bad.png
run batch deblur in -o out --json
did 1 5 0 0 0
# What failed for an option's sake is tried again without it
run batch deblur in -o out2 --json --max-pixels 4500
did 3 0 3 0 3
run batch deblur in -o out2 --json
did 6 0 0 0 0
head -c $(($(wc -c <two.jpg) - 40)) two.jpg >in/cut.jpg
run batch deblur in -o out2 --json
did 0 6 1 0 3
check 'what would take it is named' grep -q 'in/cut.jpg: .*(--allow-truncated)$' "$outside/err"
run batch deblur in -o out2 --json --allow-truncated
did 7 0 0 0 0
rm -rf out out2 in/cut.jpg
echo damaged >in/a.png
run batch deblur in -o out --json --on-error stop
check '--on-error stop: status 1' test "$status" = 1
rm -rf out in

# What is lost is told, of many the first ones and how many more
{
    head -c 2 two.jpg
    printf '\xff\xe1\x00\x2chttp://ns.adobe.com/xap/1.0/\x00hdrgm:Version'
    tail -c +3 two.jpg
} >film.jpg
mkdir in
for name in a b c d e f g h i j k l; do cp film.jpg in/$name.jpg; done
head -c $(($(wc -c <two.jpg) - 40)) two.jpg >in/cut.jpg
run batch deblur in -o out --allow-truncated --json
did 13 0 0 0 0
check 'a film or gain map is told' test \
    "$(grep -cE '^softlens: warning: out/[a-l].jpg: without the film or gain map' "$outside/err")" = 10
check '  of many only their number' grep -qE 'warning: and 2 more, .*: without the film' "$outside/err"
check '  and what is cut short' grep -q '^softlens: warning: in/cut.jpg: ends early' "$outside/err"
check '  a line each' test "$(wc -l <"$outside/err")" = 12
rm -rf out
run batch deblur in -o out --allow-truncated --json --verbose
check '  all with --verbose' test "$(grep -c 'without the film' "$outside/err")" = 12
rm -rf out
run batch deblur in -o out --allow-truncated --json --quiet
check '  none with --quiet' test ! -s "$outside/err"
rm -rf out in

# A name that tells another kind than the file is of
plant in/a.png
mv in/a.png in/a.jpg
run batch deblur in -o out --json
did 1 0 0 0 0
holds 'the kind that it is of' out a.png
check '  without loss' test "$(head -c 4 out/a.png | tail -c 3)" = PNG
run batch deblur in -o out --json
did 0 1 0 0 0
rm -rf out in

# Collisions
plant in/a.jpg in/a.png in/b.jpg in/b.jpeg in/c.png in/sub/a.jpg
run batch deblur in -o out --format png --json
did 6 0 0 0 0
holds 'no two to one name' out a.jpg.png a.png b.jpg.png b.jpeg.png c.png sub/a.png
check 'the kind that was asked for' "$MAKER" is-picture out/b.jpg.png 80x60
run batch deblur in -o out --format png --json
did 0 6 0 0 0
rm -rf out in
plant in/a.jpg
for kind in jpeg JPG PNG; do
    run batch deblur in -o out --format $kind --json
done
holds 'kinds in any letters' out a.jpg a.png
check '  by any name: nothing was done again' test "$(grep -c $'\tD\t' out/.softlens/1-of-1.journal)" = 2
rm -rf out in
# Whose name is taken by one that comes later, or that it became
plant in/a.jpg
run batch deblur in -o out --format png --json
plant in/a.png
run batch deblur in -o out --format png --json
did 2 0 0 0 0
holds 'its own place' out a.png a.jpg.png
check '  and its own picture' "$MAKER" is-picture out/a.png 64x64
run batch deblur in -o out --format png --json
did 0 2 0 0 0
# That is not left to a run that finds only one of the two
run batch deblur in -o out --format png --include '*.jpg' --json
did 0 0 1 0 3
check 'what became of the other stays' "$MAKER" is-picture out/a.png 64x64
check '  and is called that' grep -q 'out/a.png: was made of another picture, which' "$outside/err"
rm -rf out in
plant in/a.jpg
run batch deblur in -o out --format png --json
plant in/a.png
run batch deblur in -o out --format png --include '*.png' --json
did 0 0 1 0 3
check 'likewise the other way round' "$MAKER" is-picture out/a.png 80x60
for shard in 1 2; do
    run batch deblur in -o out --format png --shard $shard/2 --json
done
holds 'slices know of each other' out a.png a.jpg.png
check '  and part them' "$MAKER" is-picture out/a.png 64x64
rm -rf out in
plant B/x.png
mkdir A
make picture A/x.png 70x50
mv A/x.png A/x.jpg
run batch deblur A -o out --json
cp out/x.png first.png
run batch deblur B -o out --json
did 0 0 1 0 3
check 'another batch takes nothing over' cmp out/x.png first.png
rm -rf out A B first.png
plant in/Tree.jpg in/tree.jpg in/TREE.jpg in/leaf.jpg $'in/\303\204.jpg' $'in/\303\244.jpg'
run batch deblur in -o out --ignore-case --json
did 6 0 0 0 0
check 'names differ in more than case' test "$(files out | sed 's/.*/\L&/' | sort -u | wc -l)" = 6
rm -rf out in

# Two of one name cannot both be there
plant x/in/a.png x/in/b.png y/in/a.jpg y/in/c.png
cp two.jpg y/in/a.png
run batch deblur x/in y/in -o out --json
did 4 0 1 0 3
check 'it is named' grep -q 'y/in/a.png: has the same place in the output as x/in/a.png' "$outside/err"
check '  the first has it' "$MAKER" is-picture out/in/a.png 64x64
run batch deblur x/in x/in -o out2 --json
did 2 0 0 0 0
rm -rf out out2 x y

# Odd names
plant $'in/line\nbreak.png' $'in/\377\376.png' in/-dash.png 'in/ a"b\c'$'\t.png' 'in/d d/é.jpg'
run batch deblur in -o out --json --log log.jsonl
did 5 0 0 0 0
check 'odd names' diff <(cd in && find . -type f -print0 | sort -z) \
    <(cd out && find . -name '.softlens' -prune -o -type f -print0 | sort -z)
run batch deblur in -o out --json
did 0 5 0 0 0
check 'the log is JSON' "$MAKER" is-json log.jsonl 5
rm -rf in log.jsonl

# Links, folders that cannot be read, pipes
plant in/a/b/c.png real/r.png
ln -s .. in/a/loop
ln -s ../a in/a/b/up
ln -s "$work/real" in/elsewhere
ln -s ../real/r.png in/linked.png
ln -s nowhere.png in/dangling.png
mkfifo in/pipe.png
rm -rf out
run batch deblur in -o out --json
did 2 0 0 0 0
holds 'links to pictures, not to folders' out a/b/c.png linked.png
check 'links to nothing are told' grep -q 'warning: in/dangling.png: leads to no file' "$outside/err"
check '  on one line' one_line
run batch deblur in -o out --json --quiet
check '  but for --quiet' test ! -s "$outside/err"
rm -rf out
mkdir in/locked
cp one.png in/locked/x.png
if [ "$(id -u)" != 0 ]; then
    chmod 0 in/locked
    run batch deblur in -o out --json
    did 2 0 1 0 3
    chmod 755 in/locked
elif command -v setpriv >/dev/null; then
    chmod 0 in/locked
    mkdir -m 777 open
    chmod 755 "$work"
    setpriv --reuid=65534 --clear-groups "$SOFTLENS" batch deblur in -o open/out --json \
        --model m.safetensors >"$outside/out" 2>"$outside/err"
    status=$?
    did 2 0 1 0 3
    check 'an unreadable folder is named' grep -q 'in/locked: cannot be read' "$outside/err"
fi
rm -rf in out open real

# What stands in the way
plant in/a.png in/b.png
mkdir out
echo mine >out/a.png
run batch deblur in -o out --json
did 1 0 1 0 3
check 'what is not ours stays' grep -q mine out/a.png
run batch deblur in -o out --json --overwrite
did 1 1 0 0 0
check 'until it may go' "$MAKER" is-picture out/a.png 64x64
rm -rf out
find in -name '*.png' -print0 >list
run batch deblur --files0-from list -o . --dry-run
check '--dry-run tells what is in the way' test "$status" = 3 -a "$(wc -l <"$outside/err")" = 2
run batch deblur --files0-from list -o . --overwrite --json
did 0 0 2 0 3
check 'never over an input' cmp one.png in/a.png
run batch deblur in -o out
(cd out && "$SOFTLENS" batch deblur a.png -o . --model ../m.safetensors) >"$outside/out" 2>"$outside/err"
status=$?
check '  and what a batch made is none' test "$status" = 1 -a "$(cmp out/a.png out/b.png)" = ''
check '    which is told' grep -q 'no pictures found but 1 that a batch made here' "$outside/err"
rm -rf out
rm -rf in .softlens list

# Which pictures
plant in/a.png in/b.jpg in/trip/c.jpg in/trip/d/e.png in/raw/f.png
touch -d '2020-01-01' in/a.png
run batch deblur in -o out --include '*.jpg' --json
did 2 0 0 0 0
holds '--include' out b.jpg trip/c.jpg
rm -rf out
run batch deblur in -o out --include 'trip/*' --include a.png --json
holds 'several of them' out trip/c.jpg a.png
rm -rf out
# A name that tells no kind is held against what is in the file
echo 'no picture' >in/trip/notes.txt
cp one.png in/trip/scan
run batch deblur in -o out --include 'trip/*' --json
did 2 0 0 0 0
holds '  of what it matches, pictures alone' out trip/c.jpg trip/scan.png
rm -rf out
rm in/trip/notes.txt in/trip/scan
run batch deblur in -o out --exclude raw --exclude 'trip/d/*' --exclude 'b*'
holds '--exclude, of folders too' out a.png trip/c.jpg
rm -rf out
run batch deblur in -o out --newer 2020-01-02
holds '--newer with a date' out b.jpg trip/c.jpg trip/d/e.png raw/f.png
rm -rf out
run batch deblur in -o out --newer in/b.jpg --json
check '--newer with a file' test ! -e out/b.jpg -a ! -e out/a.png
rm -rf out
run batch deblur in/trip in/raw -o out
holds 'several folders' out trip/c.jpg trip/d/e.png raw/f.png
rm -rf out
find ./in -name '*.png' -print0 | "$SOFTLENS" batch deblur --files0-from - -o out >"$outside/out" \
    2>"$outside/err"
holds '--files0-from -' out in/a.png in/trip/d/e.png in/raw/f.png
rm -rf out
# However often it is named
run batch deblur in/trip in/trip/c.jpg in/raw/../trip/d/e.png -o out --json
did 2 0 0 0 0
holds 'a picture once' out c.jpg d/e.png
rm -rf out
ln in/a.png in/hard.png
ln -s a.png in/soft.png
run batch deblur in/a.png in/hard.png in/./soft.png in/raw/../soft.png -o out --json
did 3 0 0 0 0
rm -rf out in/hard.png in/soft.png
# What find tells of: folders, and then what came of it
for again in 1 2; do
    (cd in && find . -print0 | "$SOFTLENS" batch deblur --files0-from - -o out --model ../m.safetensors --json) \
        >"$outside/out" 2>"$outside/err"
    status=$?
    did $((again == 1 ? 5 : 0)) $((again == 1 ? 0 : 5)) 0 0 0
    check '  folders are passed by' grep -qE 'files0-from -: [0-9]+ folders are passed by' "$outside/err"
done
holds 'each in its place' in/out a.png b.jpg trip/c.jpg trip/d/e.png raw/f.png
check '  and what is there is no picture to work on' grep -q \
    'warning: \./out/.*: was made by a batch here and is left out, and so are 4 more' "$outside/err"
(cd in && "$SOFTLENS" batch deblur ./*.png out/*.png -o out --model ../m.safetensors --json --quiet) \
    >"$outside/out" 2>"$outside/err"
status=$?
did 0 1 0 0 0
check '  nor told with --quiet' test ! -s "$outside/err"
says '"left_out":1,"folders":0,'
run batch deblur in/a.png in/out/b.jpg -o in/out --dry-run
says ', 1 left out$'
rm -rf in/out
# Also where nothing else was found, or that was removed
for again in 1 2 3; do
    (cd in && find . -type f -print0 | "$SOFTLENS" batch deblur --files0-from - -o out --newer 2021-01-01 \
        --model ../m.safetensors) >"$outside/out" 2>"$outside/err"
    find in -type f -not -path in/out/\* -exec touch -d 2020-01-01 {} +
done
holds '  by the journal alone' in/out b.jpg trip/c.jpg trip/d/e.png raw/f.png
rm -rf in/out
# What lies there and no batch made is a picture as any other
plant home/pics/a.png other/b.png
for again in 1 2; do
    run batch deblur home/pics/a.png other/b.png -o home --quiet --json
    did $((again == 1 ? 2 : 0)) $((again == 1 ? 0 : 2)) 0 0 0
done
for again in 1 2; do
    (cd home/pics && "$SOFTLENS" batch deblur a.png ../../other/b.png -o . --format jpg \
        --model ../../m.safetensors --json) >"$outside/out" 2>"$outside/err"
    status=$?
    did $((again == 1 ? 2 : 0)) $((again == 1 ? 0 : 2)) 0 0 0
done
holds '  and has its place' home pics/a.png pics/a.jpg pics/other/b.jpg home/pics/a.png other/b.png
rm -rf home other
find in -type d -print0 >list
refused 1 'list: names folders only.*find -type f' batch deblur --files0-from list -o out --dry-run -q
printf 'in/a.png\nin/b.jpg\n' >list
run batch deblur --files0-from list -o out
check 'a list of lines' grep -q '"in/a.png" and what follows is no file; a zero byte' "$outside/err"
rm -rf out list
before=$(snapshot)
run batch deblur in -o out --dry-run
check '--dry-run writes nothing' test "$before" = "$(snapshot)"
says '^in/trip/d/e.png -> out/trip/d/e.png$'
says '^5 to do, 0 done before'
run batch deblur in -o out --dry-run --json
check '  as JSON' "$MAKER" is-json "$outside/out" 1
says '^{"output":"out","to_do":5,"done_before":0,"failed":0,"failed_before":0,"no_pictures":0,"left_out":0,"folders":0,"plan":\['
says '{"path":"in/trip/d/e.png","output":"out/trip/d/e.png"}'

# Shards: each picture once, whatever their number before
plant in/{1,2,3,4,5,6,7}/{x,y,z}.png
total=$(files in | wc -l)
sum=0
for shard in 1 2 3; do
    run batch deblur in -o out --shard $shard/3 --json
    sum=$((sum + $(sed -E 's/.*"done":([0-9]+),.*/\1/' "$outside/out")))
    check "  shard $shard is no more than half" test "$(files out | wc -l)" -gt 0 -a "$status" = 0
done
check 'shards part the pictures' test "$sum" = "$total"
run batch deblur in -o out --json
did 0 "$total" 0 0 0
run batch deblur in -o out2 --shard 2/3 --quiet
files out2 >second
run batch deblur "$work/in" -o out3 --shard 2/3 --quiet
check 'by their names alone' diff second <(files out3)
rm -rf out out2 out3

# Several devices take from one queue
accepted batch deblur in -o out --quiet
accepted batch deblur in -o out2 --device cpu,cpu --threads 1 --jobs 3 --quiet
check 'two devices: the same' diff -r -x .softlens out out2
refused 2 'missing between commas' batch deblur in -o out3 --device cpu,,cpu
run batch deblur in -o out3 --device cpu,vulkan:99
check 'a device that is not there: no success' test "$status" = 2 -o "$status" = 1
rm -rf out out2 out3

# Little blur: the file as it is
make picture dark.png 40x32
plant in/keep.png
# Other settings: done anew, whichever it is that a run without it did not have
run batch deblur in -o base --include keep.png --json
for change in '' --dense '--keep-threshold 0.9' '--tta flip' '--tta flips' '--shrink 2' '--min-blur 0.01' '--tile 64' \
    '--memory 1G' '--format jpg' '--quality 40' --strip-metadata; do
    rm -rf out
    cp -a base out
    # shellcheck disable=SC2086 # one word an option
    run batch deblur in -o out --include keep.png $change --json
    echo "# with ${change:-nothing}"
    did $((${#change} > 0)) $((${#change} == 0)) 0 0 0
done
rm -rf base out
run batch deblur in -o out --min-blur 0.99 --json
says "\"done\":$((total + 1)),\"unchanged\":$((total + 1)),"
check 'the same file' test in/keep.png -ef out/keep.png
rm -rf out
run batch deblur in -o out --min-blur 0.99 --strip-metadata --json
check 'but for what is to be taken out of it' test -f out/keep.png -a ! in/keep.png -ef out/keep.png
rm -rf out
sign two.jpg in/signed.jpg
for least in 0.99 0.001; do
    run batch deblur in -o out --include signed.jpg --min-blur $least
    check 'whose it is' tells out/signed.jpg
    run batch deblur in -o out --include signed.jpg --min-blur $least --strip-metadata
    check '  is told to nobody' tells_nothing out/signed.jpg
    check '  and stays told in the picture itself' tells in/signed.jpg
    rm -rf out
done
rm in/signed.jpg
run batch deblur in -o out --min-blur 0.99 --format jpg --json
check 'another kind is written anew' test "$(head -c 2 out/keep.jpg | od -An -tx1)" = ' ff d8'
run batch deblur in -o out --min-blur 0.001 --format jpg --json
says '"unchanged":0,'
rm -rf in out
finish
