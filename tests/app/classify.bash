# SPDX-License-Identifier: MIT
# tests/app/classify.bash: what is in pictures: tables, JSON, CSV, embeddings; folders, pipes,
# pictures that fail.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make soft m.safetensors good
make soft unknown.safetensors unknown
make soft linear.safetensors linear
make soft backbone.safetensors backbone
make model lmd.safetensors good
make picture a.png 200x150
make picture b.jpg 90x120
export SOFTLENS_MODELS="$work/m.safetensors" # the default model, from here on

lines() # COUNT: of the last run's stdout
{
    [ "$(wc -l <"$outside/out")" = "$1" ]
    report $? "$1 lines"
}

printed() # NAME STATUS ARGUMENTS...: status, and nothing on stderr; stdout is kept as NAME
{
    local name=$1 want=$2
    shift 2
    run "$@"
    cp "$outside/out" "$outside/$name"
    [ "$status" = "$want" ] && [ ! -s "$outside/err" ]
    report $? "$name: ${*}"
}

# A table
accepted classify a.png
says '^a\.png: thing [0-6]$'
says '^  thing [0-6] +[0-9]+\.[0-9] deg +[0-9.]+ %$'
lines 6
accepted classify a.png b.jpg --top 2
lines 6
accepted classify a.png -k 1000
lines 8
accepted classify a.png --quiet
lines 0
accepted classify a.png --model linear.safetensors
says '^  thing [0-6] +[0-9.]+ %$'
accepted classify a.png --model unknown.safetensors
says '^a\.png: unknown \(confidence -?[0-9.e+]+, below [0-9.e+]+\); what comes nearest:$'
accepted classify a.png --model unknown.safetensors --unknown-rate 0.5
says 'unknown'
accepted classify a.png --model unknown.safetensors --no-unknown
says '^a\.png: thing [0-6]$'

# Threads, and whether one of them decodes ahead, do not matter.
for threads in 1 2 3; do
    printed "threads$threads" 0 classify a.png b.jpg --csv --threads "$threads"
    check "$threads threads: the same" cmp "$outside/threads1" "$outside/threads$threads"
done

# Standard input
for how in file pipe; do
    if [ "$how" = file ]; then
        "$SOFTLENS" classify - <a.png >"$outside/out" 2>"$outside/err"
    else
        "$SOFTLENS" classify - < <(cat a.png) >"$outside/out" 2>"$outside/err"
    fi
    status=$?
    check "a $how: status 0" test "$status" = 0 -a ! -s "$outside/err"
    says '^-: thing [0-6]$'
done
echo 'no picture' | "$SOFTLENS" classify - >"$outside/out" 2>"$outside/err"
status=$?
check 'what is piped is no picture: status 1' test "$status" = 1
check '  a line that says so' grep -q '^softlens: standard input: not PNG, JPEG' "$outside/err"
refused 1 'standard input: empty file' classify -

# Folders: by name, pictures only, the rest told
mkdir -p photos/below photos/.hidden
make picture photos/z.png 64x64
make picture photos/B.jpg 70x64
make picture photos/below/c.png 64x80
cp photos/z.png photos/no-ending
cp photos/z.png photos/.secret.png
cp photos/z.png photos/.hidden/d.png
echo text >photos/notes.txt
ln -s .. photos/circle
run classify photos --top 1 --csv
check 'a folder: status 0' test "$status" = 0
names=$(tail -n +2 "$outside/out" | cut -d , -f 1 | tr '\n' ' ')
check '  its pictures, by name' test "$names" = 'photos/B.jpg photos/no-ending photos/z.png '
check '  what was left out is told' grep -q \
    '^softlens: photos: 2 files are no pictures, skipped: circle, notes.txt$' "$outside/err"
check '  and the folder in it' grep -q 'photos: 1 folder in it is skipped; add --recursive' \
    "$outside/err"
run classify photos/ --top 1 --csv --recursive --quiet
names=$(tail -n +2 "$outside/out" | cut -d , -f 1 | tr '\n' ' ')
check 'with the folders in it' test "$names" = \
    'photos/B.jpg photos/below/c.png photos/no-ending photos/z.png '
check '  quietly' test ! -s "$outside/err"
mkdir empty
refused 1 'empty: holds no picture' classify empty
run classify empty --json
grep -q '"error": "empty: holds no picture' "$outside/out"
report $? '  told as JSON, too'
run classify empty a.png
check 'one of two is empty: status 3' test "$status" = 3
check '  a line' one_line
says '^a\.png: thing'
run classify empty missing.png
check 'an empty folder and none at all: status 1' test "$status" = 1

# JSON, and lines of it
printed json 0 classify a.png b.jpg --json
check 'one document' "$MAKER" is-json <(tr -d '\n' <"$outside/json") 1
says '"input": "b\.jpg"'
says '"angle_degrees": [0-9.]+'
says '"unknown": false'
printed jsonl 0 classify a.png b.jpg --jsonl --top 3
check 'two objects' "$MAKER" is-json "$outside/jsonl" 2
says '^\{"input":"a.png","unknown":false,"confidence":-?[0-9.]+,"threshold":-?[0-9.]+,"matches":\[\{"label":"thing'
for rate in 0.1 0.9; do
    accepted classify a.png --json --unknown-rate $rate
    grep '"threshold"' "$outside/out" >"$outside/rate$rate"
done
check 'each --unknown-rate has its threshold' test "$(cat "$outside"/rate* | sort -u | wc -l)" = 2
printed linear 0 classify a.png --jsonl --model linear.safetensors
says '"confidence":null,"threshold":null'
says '"angle_degrees":null'

# CSV
odd='odd, "name".png'
cp a.png "$odd"
printed csv 0 classify "$odd" --csv --top 2
check 'names are quoted' grep -qF '"odd, ""name"".png",1,thing' "$outside/csv"
cp a.png $'two\nlines.png'
printed lines 0 classify $'two\nlines.png' --csv --top 1
check 'and so are line breaks' grep -qx '"two' "$outside/lines"
check '  to their end' grep -q '^lines.png",1,thing' "$outside/lines"
check 'lines end in CR LF' test "$(grep -c $'\r$' "$outside/csv")" = 3

# Embeddings
printed none 0 classify a.png b.jpg --embedding e.npy --quiet
check 'a row each' "$MAKER" is-npy e.npy 16x2
refused 1 'e\.npy: exists' classify a.png --embedding e.npy
refused 1 'there is no directory nowhere' classify a.png --embedding nowhere/e.npy
refused 2 'not written to standard output' classify a.png --embedding -
refused 1 'b\.jpg: exists and is no NumPy array' classify a.png --embedding b.jpg --overwrite
accepted classify a.png --embedding e.npy --overwrite
check '  replaced' "$MAKER" is-npy e.npy 16x1
rm e.npy

# Some fail
head -c 200 a.png >cut.png
run classify cut.png a.png missing.png --jsonl --embedding e.npy
check 'some fail: status 3' test "$status" = 3
check '  an object for each' "$MAKER" is-json "$outside/out" 3
check '  a line for each that failed' test "$(wc -l <"$outside/err")" = 2
says '^\{"input":"missing.png","error":"missing.png: .*No such file'
check '  a row for each' "$MAKER" is-npy e.npy 16x3
printed alone 0 classify a.png --embedding alone.npy --quiet
check '  each where its picture stands' test "$(tail -c 128 e.npy | head -c 64 | cksum)" = "$(tail -c 64 alone.npy | cksum)"
check '  not a number where it failed' test "$(tail -c 4 e.npy | od -An -tf4 | tr -d ' ')" = nan
rm e.npy
mkdir empty
run classify empty a.png --json --embedding e.npy
[ "$status" = 3 ] && [ "$(grep -o '"input": "[^"]*"' "$outside/out" | tr '\n' ' ')" = '"input": "empty" "input": "a.png" ' ]
report $? 'a folder without pictures comes first'
check '  and has a row' "$MAKER" is-npy e.npy 16x2
check '  each row is of its entry' test "$(head -c -64 e.npy | tail -c 4 | od -An -tf4 | tr -d ' ') $(tail -c 64 e.npy | cksum)" = \
    "nan $(tail -c 64 alone.npy | cksum)"
rm -r empty e.npy alone.npy
run classify cut.png missing.png --json --embedding e.npy
check 'all fail: status 1' test "$status" = 1
check '  and are in the document' test "$(grep -c '"error": ' "$outside/out")" = 2
check '  nothing is written' test ! -e e.npy
run classify cut.png --csv
check 'a failure in CSV' grep -qE '^cut\.png(,){10}"?cut\.png: .*'$'\r''$' "$outside/out"
head -c $(($(wc -c <b.jpg) - 40)) b.jpg >cut.jpg
refused 1 'cut\.jpg: .*--allow-truncated' classify cut.jpg
run classify cut.jpg --allow-truncated
check '--allow-truncated takes it' test "$status" = 0
rm cut.jpg
refused 1 'a\.png: .* the limit is 29999 pixels' classify a.png --max-pixels 29999

# Models and galleries that do not fit
refused 1 'architecture lmd-vit cannot classify' classify a.png --model lmd.safetensors
refused 2 'backbone\.safetensors: was trained on no classes; give a gallery' classify a.png b.jpg \
    --model backbone.safetensors
refused 1 'nowhere\.safetensors' classify a.png --model nowhere.safetensors
refused 1 'nowhere\.gallery' classify a.png --gallery nowhere.gallery
refused 1 'a\.png' classify a.png --gallery a.png
refused 2 'unknown device' classify a.png --device abacus
mkdir empty
(
    export SOFTLENS_MODELS=$work/empty HOME=$work/empty XDG_DATA_HOME=$work/empty
    export XDG_DATA_DIRS=$work/empty
    run classify a.png
    [ "$status" = 0 ] || grep -q 'soft-small.safetensors' "$outside/err"
)
report $? 'no default model: its name is told'

# A reader that leaves early is no failure; a signal ends it between two pictures.
"$SOFTLENS" classify a.png b.jpg photos --quiet --jsonl 2>"$outside/err" | head -n 1 >"$outside/out"
check 'a reader that leaves' test "${PIPESTATUS[0]}" = 0 -a ! -s "$outside/err"
mkfifo held
env --default-signal=INT,TERM "$SOFTLENS" classify a.png held b.jpg --jsonl >"$outside/out" \
    2>"$outside/err" </dev/null &
pid=$!
exec 3>held
until [ -s "$outside/out" ]; do sleep 0.05; done
kill -INT "$pid"
cat a.png >&3
exec 3>&-
wait "$pid"
status=$?
check 'a signal: status 130' test "$status" = 130
check '  a line' one_line
check '  an object for each, the first as it was done' "$MAKER" is-json "$outside/out" 3
check '  the others as interrupted' test "$(grep -c '"error":"interrupted"' "$outside/out")" = 2
finish
