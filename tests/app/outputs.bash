# SPDX-License-Identifier: MIT
# tests/app/outputs.bash: what is written where, what is never overwritten, what is said.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make picture a.png 200x150
make picture b.jpg 150x100
make picture "über alles.png" 64x64
make picture ./-dash.png 64x64
cp a.png wrong.jpg
export SOFTLENS_MODELS="$work/m.safetensors" # the default model, from here on

# Beside the input, of its kind
accepted deblur a.png
says '^a\.deblurred\.png: 200x150, [0-9.]+ % of windows computed, [0-9]+\.[0-9]{2} s, [Cc][Pp][Uu] \(.*\)$'
check 'a picture of the same size' "$MAKER" is-picture a.deblurred.png 200x150
accepted deblur b.jpg
check 'JPEG stays JPEG' test "$(head -c 2 b.deblurred.jpg | od -An -tx1)" = ' ff d8'
accepted deblur b.jpg --quality 30 -o coarse.jpg
check 'a quality codes all anew' test "$(stat -c %s coarse.jpg)" -lt "$(stat -c %s b.deblurred.jpg)"
accepted batch deblur b.jpg -o kept/ --quiet
check 'alike in a batch' cmp b.deblurred.jpg kept/b.jpg
accepted deblur wrong.jpg
check 'the kind is told by content' "$MAKER" is-picture wrong.deblurred.png 200x150
accepted deblur 'über alles.png'
says '^über alles\.deblurred\.png: '
accepted deblur -- -dash.png
check 'names that begin with -' "$MAKER" is-picture ./-dash.deblurred.png 64x64
refused 1 'exists; .* --overwrite' deblur a.png
accepted deblur a.png --overwrite
rm -rf ./*.deblurred.* kept coarse.jpg

# Where we say
accepted deblur a.png -o one.png --heat heat.png --compare both.png
check 'the heat map is a PNG' "$MAKER" is-picture heat.png 200x150
size=$(od -An -tu1 -j16 -N8 both.png | awk '{ print $3 * 256 + $4 "x" $7 * 256 + $8 }')
check "the comparison ($size) is a PNG" "$MAKER" is-picture both.png "$size"
check 'of twice the width' test "${size%x*}" -ge 400
accepted deblur a.png -o two --format jpeg --quality 50
check 'a name without an ending' test "$(head -c 2 two | od -An -tx1)" = ' ff d8'
mkdir dir
accepted deblur a.png b.jpg -o dir
check 'into a directory' test -f dir/a.deblurred.png -a -f dir/b.deblurred.jpg
accepted deblur a.png b.jpg -o new/er/ --format png --heat maps/ --compare dir
check 'into new ones' test -f new/er/a.deblurred.png -a -f new/er/b.deblurred.png \
    -a -f maps/b.heat.png -a -f dir/a.compare.png
accepted deblur a.png -o "$work/abs.png" --model m.safetensors --device cpu --memory 64M --tile 64
accepted deblur a.png -o x.png --keep-threshold 0.001 --strip-metadata --max-pixels 30000
rm -rf new maps dir x.png

# Metadata go along, unless they are not to
sign b.jpg signed.jpg
for kind in jpg png; do
    accepted deblur signed.jpg -o kept.$kind --format $kind
    check 'whose it is' tells kept.$kind
    accepted deblur signed.jpg -o bare.$kind --format $kind --strip-metadata
    check 'is told to nobody' tells_nothing bare.$kind
done

# Same results, however many threads
accepted deblur a.png -o t1.png --threads 1 --dense
accepted deblur a.png -o t2.png --threads 2 --dense
check 'threads change nothing' cmp t1.png t2.png

# Mirror images
accepted deblur a.png -o plain.png
run deblur a.png -o flips.png --tta flips --dense --json
check '--tta flips makes four views' grep -q '"tiles":1,.*"views":4' "$outside/out"
run deblur a.png -o flip.png --tta flip --dense --json
check '--tta flip makes two' grep -q '"views":2' "$outside/out"
check 'they differ from one' test "$(sha256sum t1.png flip.png flips.png | cut -d ' ' -f 1 | sort -u | wc -l)" = 3

# In small
run deblur a.png -o small.png --shrink 2 --dense --json
check '--shrink looks at a smaller picture' grep -q '"width":200,"height":150,.*"shrink":\[2\]' "$outside/out"
check 'and changes another way' test "$(sha256sum t1.png small.png | cut -d ' ' -f 1 | sort -u | wc -l)" = 2
make picture large.png 800x130
accepted deblur large.png
says 'large.deblurred.png: 800x130, looked at 1/2 and full size, '
run deblur large.png --overwrite --json
check 'large ones are looked at in two sizes' grep -q '"shrink":\[2,1\]' "$outside/out"
accepted deblur large.png --overwrite --shrink 1
says 'large.deblurred.png: 800x130, [0-9]'

# Each option alone reaches the library, in a batch too: another picture than without it
for change in '--dense' '--keep-threshold 0.9' '--tile 64' '--tta flips' '--shrink 2'; do
    # shellcheck disable=SC2086 # one word an option
    run deblur a.png -o as.png --overwrite --json $change
    case $change in
        --dense) says '"kept_share":1\.0,' ;;
        --keep*) says '"kept_share":0\.1' ;;
        --tile*) says '"tiles":[2-9].*"tile_width":128,' ;;
    esac
    check "deblur $change: another picture" test "$(cksum <as.png)" != "$(cksum <plain.png)"
    # shellcheck disable=SC2086
    "$SOFTLENS" batch deblur a.png -o as/ --quiet $change 2>>"$outside/err"
    check '  and so a batch' cmp as.png as/a.png
done
make picture wide.png 600x600
run deblur wide.png --shrink 1 --memory 2M --json
says '"tiles":[1-9][0-9],'
rm -r as as.png plain.png wide.*

# Quiet, JSON
accepted deblur a.png -o q.png --quiet
check '--quiet prints nothing' test ! -s "$outside/out"
mkdir dir
run deblur a.png missing.png b.jpg -o dir --json
check 'some failed: status 3' test "$status" = 3
check 'one JSON object an image' "$MAKER" is-json "$outside/out" 3
says '"input":"a.png","output":"dir/a.deblurred.png","width":200,"height":150,"kept_share":'
says '"input":"missing.png",.*"error":"missing.png: '
check 'one line on stderr' one_line
mkdir names
cp a.png $'names/quote"\xff\\.png' 2>/dev/null
accepted deblur names/* --json
check 'any name in JSON' "$MAKER" is-json "$outside/out" 1
run deblur missing.png missing2.png
check 'all failed: status 1' test "$status" = 1
check 'a line for each' test "$(wc -l <"$outside/err")" = 2

# Never over an input
cp a.png in.png
ln -s in.png soft.png
ln in.png hard.png
mkdir sub
ln -s .. sub/up
for output in in.png ./in.png soft.png hard.png sub/../in.png sub/up/in.png "$work/in.png"; do
    refused 1 'is the input itself' deblur in.png -o "$output"
    refused 1 'is the input itself' deblur soft.png -o "$output"
done
accepted deblur in.png -o in.png --overwrite
check 'but with --overwrite' test "$(cksum <in.png)" != "$(cksum <a.png)"
check 'and a hard link keeps the old picture' cmp a.png hard.png
cp a.png a.deblurred.png
refused 2 'is an input and also the output of a.png' deblur a.png a.deblurred.png
refused 2 'is an input and also the output of a.png' deblur a.png a.deblurred.png --overwrite
rm a.deblurred.png

# Never two into one
mkdir x y out
cp a.png x
cp a.png y
refused 2 'x/a.png and y/a.png would both become' deblur x/a.png y/a.png -o out
refused 2 'would both become' deblur a.png ./a.png
refused 2 'would both become' deblur a.png sub/up/a.png
refused 2 'is named for two outputs' deblur a.png -o z.png --heat z.png
refused 1 'a\.png: is the input itself; name another output$' deblur a.png -o z.png --heat a.png --overwrite
refused 1 'a\.png: is the input itself' deblur a.png -o z.png --compare ./a.png --overwrite
refused 2 'name the result with --heat FILE' deblur - -o z.png --heat maps/
refused 2 'is named for two outputs' deblur a.png -o z.png --compare sub/../z.png

# Names that cannot be
refused 2 'several images need a directory' deblur a.png b.jpg -o z.png
refused 2 'several images need a directory' deblur a.png b.jpg --heat z.png
refused 2 'several images need a directory' deblur a.png b.jpg --compare z.png
refused 2 'end the name in .png' deblur a.png --heat heat.jpg
refused 2 'end the name in .png' deblur a.png --compare both
refused 2 'no known kind' deblur a.png -o z.gif
refused 2 'is read and not written' deblur a.png -o z.webp
refused 2 'contradict' deblur a.png -o z.png --format jpg
refused 1 'there is no directory nowhere' deblur a.png -o nowhere/z.png
refused 1 'there is no directory nowhere' deblur a.png -o z.png --heat nowhere/z.png
refused 1 'is not a directory' deblur a.png -o b.jpg/z.png
refused 1 '.' deblur a.png -o b.jpg/
refused 1 'not a regular file' deblur a.png -o /dev/null --overwrite
ln -s /proc/self/fd/1 stdout.png # as /dev/stdout is
ln -s stdout.png link.png
for link in stdout.png link.png; do
    refused 1 'not a regular file' deblur a.png -o $link --overwrite
done
rm stdout.png link.png
refused 1 'cannot be written' deblur a.png -o "$(printf 'n%.0s' {1..300}).png"
refused 1 '/proc' deblur a.png -o /proc/z.png
if [ "$(id -u)" != 0 ]; then
    mkdir locked
    chmod 555 locked
    refused 1 'cannot be written' deblur a.png -o locked/z.png
    chmod 755 locked
fi

# A full disk: a limit on file sizes everywhere, a small tmpfs where we may mount one
before=$(snapshot)
make picture noise.png 600x600
for output in '-o full.png' '-o full.jpg --quality 100' '-o full.png --heat full2.png'; do
    rm -f noise.deblurred.png
    before=$(snapshot)
    # shellcheck disable=SC2086
    (ulimit -f 4; exec "$SOFTLENS" deblur noise.png $output) >"$outside/out" 2>"$outside/err"
    status=$?
    check "no room for $output: status 1" test "$status" = 1
    check '  a line' one_line
    check '  nothing is left' test "$before" = "$(snapshot)"
done
# The map is written, the picture is not: the map goes again, unless there was one before
accepted deblur noise.png -o noise2.png --heat map.png
between=$(($(wc -c <map.png) / 1024 + 2))
check "a map ($between KiB) smaller than the picture" test "$(wc -c <noise2.png)" -gt $((between * 1024))
for map in map.png map2.png; do
    (ulimit -f $between; exec "$SOFTLENS" deblur noise.png -o noise3.png --heat $map --overwrite) \
        >"$outside/out" 2>"$outside/err"
    status=$?
    check "room for $map alone: status 1" test "$status" = 1 -a ! -e noise3.png
done
check '  what was there is not taken away' "$MAKER" is-picture map.png 600x600
check '  and what was not is' test ! -e map2.png
rm noise2.png map.png
mkdir disk
if mount -t tmpfs -o size=8k none disk 2>/dev/null; then
    run deblur noise.png -o disk/full.png
    check 'a full disk: status 1' test "$status" = 1
    check '  a line' one_line
    check '  nothing is left' test -z "$(ls -A disk)"
    umount disk
fi
for command in deblur detect classify enroll gallery batch run info; do
    "$SOFTLENS" help "$command" >/dev/full 2>"$outside/err"
    status=$?
    check "help $command to a full disk: status 1" test "$status" = 1
done
"$SOFTLENS" deblur a.png -o s.png >/dev/full 2>"$outside/err"
check 'a full stdout is said' test $? = 1
check '  in a line' one_line

# A reader that leaves does no harm
for i in 1 2 3 4; do cp a.png "pipe$i.png"; done
"$SOFTLENS" deblur pipe?.png 2>"$outside/err" | head -n 1 >"$outside/out"
status=${PIPESTATUS[0]}
check 'a closed pipe: status 0' test "$status" = 0 -a ! -s "$outside/err"
check '  and all images are done' test -f pipe4.deblurred.png

# What is meant for a stream that is closed goes into no file that took its number
check 'a closed stdout' test "$("$SOFTLENS" info m.safetensors >&- 2>/dev/null; echo $?)" = 1
"$SOFTLENS" batch deblur a.png -o closed --json >&- 2>"$outside/err"
status=$?
check 'a batch with stdout closed: status 1' test "$status" = 1
check '  a line' one_line
check '  the journal is as always' test -z "$(grep -h '^{' closed/.softlens/*)"
echo broken >broken.png
"$SOFTLENS" batch deblur a.png broken.png -o closed2 --log log.jsonl >&- 2>&-
check 'with stderr closed, too: the log is as always' test -z "$(grep -v '^{' log.jsonl)"
check '  and has both pictures' test "$(wc -l <log.jsonl)" = 2

# The other commands
accepted info m.safetensors
says 'architecture: +lmd-vit'
accepted info m.safetensors --size 640x480 --graph
says 'input'
says '^width: +640$'
accepted info m.safetensors --json
check 'info in JSON' grep -q '"architecture": *"lmd-vit"' "$outside/out"
accepted convert m.safetensors -o copy.safetensors
refused 1 'exist' convert m.safetensors -o copy.safetensors
accepted convert m.safetensors -o copy.safetensors --overwrite --half
check 'half is smaller' test "$(wc -c <copy.safetensors)" -lt "$(wc -c <m.safetensors)"
accepted info copy.safetensors
make npy x.npy 64x48
accepted run m.safetensors --input x.npy --output-dir ran
check 'run writes its tensors' test -f ran/output.npy -a -d ran/keep
refused 1 'exist' run m.safetensors --input x.npy --output-dir ran
accepted run m.safetensors --input x.npy --output-dir ran2 --composed --dense --quiet --profile ran2.json
check '--quiet prints nothing' test ! -s "$outside/out"
check '--composed: a window is many operations' grep -q '"family":"window"' ran2.json
check '  and no whole one' test "$(grep -c '"family":"block"' ran2.json)" = 0
accepted run m.safetensors --input x.npy --output-dir ran3 --keep-threshold 0.9
check '--dense and --keep-threshold decide what is computed' test \
    "$(for how in ran ran2 ran3; do cksum <$how/output.npy; done | sort -u | wc -l)" = 3
accepted bench m.safetensors --size 64x64 --repeats 1 --keep-share 0.5
says 'median'
accepted bench --size 96x64 --repeats 2 --simd portable --threads 1 --dense --json
for member in '"device": "cpu \(portable, 1 ' '"threads": 1,' '"width": 96,' '"height": 64,' '"repeats": 2,' \
    '"kept_share": 1\.0,' '"median_seconds": '; do
    says "$member"
done
accepted bench --size 64x64 --repeats 1 --keep-share 0.5 --threads 2 --json
says '"threads": 2,'
says '"keep_share_asked": 0\.5,'
says '"kept_share": 0\.[56]'
finish
