# SPDX-License-Identifier: MIT
# tests/app/enroll.bash: galleries made and extended; labels, pictures and galleries that do not do;
# two writers at once; a full disk.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make soft m.safetensors good
make soft other.safetensors other
make soft backbone.safetensors backbone
mkdir pics empty
make picture pics/1.png 200x150
make picture pics/2.jpg 90x120
make picture pics/3.png 150x90
make picture d.png 70x70
make picture e.png 300x90
export SOFTLENS_MODELS="$work/m.safetensors"

# New, extended, a class more
accepted enroll my.gallery raccoon pics
says '^my\.gallery: new gallery; raccoon is a new class of 3 pictures, 1 class in all$'
says '^3 pictures are little to tell it by; add more photographs'
says '^next: softlens classify --gallery my\.gallery PHOTO$'
check 'no file beside it stays' test "$(ls -A)" = \
    "$(printf '%s\n' backbone.safetensors d.png e.png empty m.safetensors my.gallery other.safetensors pics)"
accepted enroll my.gallery raccoon d.png e.png
says '^my\.gallery: adds to raccoon: 3 \+ 2 pictures$'
accepted enroll my.gallery 'our cat' d.png
says '^my\.gallery: our cat is a new class of 1 picture, 2 classes in all$'
accepted enroll my.gallery 'our cat' e.png --json
says '"pictures_before": 1'
says '"pictures_added": 1'
says '"classes": 2'
accepted enroll my.gallery 'our cat' d.png e.png --json
says '"pictures_added": 0'
says '"pictures_known": 2'
accepted enroll my.gallery raccoon e.png d.png e.png
says '^my\.gallery: 3 pictures are copies of others of raccoon and left out$'
says '^my\.gallery: adds to raccoon: 5 \+ 0 pictures$'
accepted enroll twice.gallery raccoon e.png e.png
says '^twice\.gallery: 1 picture is a copy of another of raccoon and left out$'
says '^twice\.gallery: new gallery; raccoon is a new class of 1 picture'
rm twice.gallery
refused 2 '"d\.png" is a file, not a label; give GALLERY LABEL' enroll cat d.png e.png
refused 2 '"pics" is a folder, not a label' enroll cat pics e.png
refused 2 '"pics/" is a folder, not a label' enroll my.gallery pics/ pics
refused 2 '"." is a folder, not a label' enroll my.gallery . e.png
for pictures in pics/ ./pics pics/1.png; do
    accepted enroll named.gallery pics $pictures
    says 'pics'
done
accepted enroll my.gallery 'our cat' pics/1.png --quiet
check 'quiet' test ! -s "$outside/out"
"$SOFTLENS" enroll piped.gallery a - <d.png >"$outside/out" 2>"$outside/err"
status=$?
check 'a piped picture: status 0' test "$status" = 0
says 'a is a new class of 1 picture'

# Together or one by one, in any number of calls: the same file
accepted enroll at-once.gallery raccoon pics d.png
accepted enroll in-steps.gallery raccoon pics/1.png
accepted enroll in-steps.gallery raccoon pics/2.jpg pics/3.png
accepted enroll in-steps.gallery raccoon d.png --threads 1
check 'bit for bit the same' cmp at-once.gallery in-steps.gallery

# Found again, before the classes of the model
accepted classify pics/1.png --gallery at-once.gallery --top 3
says '^  raccoon +[0-9.]+ deg +[0-9.]+ %  enrolled$'
says '^  thing [0-6] +[0-9.]+ deg'
accepted enroll bare.gallery cat d.png --model backbone.safetensors
run classify d.png --gallery bare.gallery --model backbone.safetensors
says '^  cat +0\.[0-9] deg +100\.0 %  enrolled$'
check 'one picture tells no threshold' grep -q 'bare.gallery: no class has two pictures' "$outside/err"
accepted classify d.png --gallery bare.gallery --model backbone.safetensors --no-unknown
accepted enroll bare.gallery cat e.png --model backbone.safetensors
accepted classify d.png --gallery bare.gallery --model backbone.safetensors

# Beside a linear head that cannot be done
make soft linear.safetensors linear
accepted enroll alone.gallery cat d.png --model linear.safetensors
says '^next: softlens classify --gallery alone\.gallery --only-gallery PHOTO$'
refused 1 'or rank the gallery.s classes alone' classify d.png --gallery alone.gallery --model linear.safetensors
accepted classify d.png --gallery alone.gallery --only-gallery --no-unknown --model linear.safetensors
says '^  cat +0\.[0-9] deg'

# The gallery's classes alone
accepted enroll at-once.gallery cat e.png
accepted enroll at-once.gallery cat pics/2.jpg
accepted classify pics/1.png --gallery at-once.gallery --only-gallery --no-unknown --csv
says '^pics/1\.png,1,raccoon,'
check 'no trained class' test "$(grep -c 'thing' "$outside/out")" = 0
check 'both enrolled ones' test "$(wc -l <"$outside/out")" = 3
accepted classify pics/1.png --gallery at-once.gallery --only-gallery --unknown-rate 0.5 --json
says '"threshold": 0\.|"threshold": 1\.0|"threshold": -0\.'
refused 2 'wants a --gallery' classify d.png --only-gallery
refused 2 'wants a --gallery' batch classify pics -o t.csv --only-gallery
refused 2 'wants a --gallery' detect d.png --only-gallery
accepted batch classify pics -o t.csv --gallery at-once.gallery --only-gallery --no-unknown --quiet
check 'no trained class in a batch' test "$(grep -c 'thing' t.csv)" = 0
rm -rf t.csv .t.csv.softlens
accepted gallery at-once.gallery remove raccoon
accepted gallery at-once.gallery remove cat
refused 2 'the gallery has no classes; enroll some first' classify d.png --gallery at-once.gallery --only-gallery
rm ./*.gallery

# Pictures that fail
refused 1 'empty: holds no picture' enroll my.gallery raccoon empty
head -c 200 d.png >cut.png
refused 1 'cut\.png' enroll my.gallery raccoon cut.png
run enroll my.gallery raccoon d.png cut.png pics/1.png missing.png
check 'some fail: status 3' test "$status" = 3
check '  a line for each' test "$(wc -l <"$outside/err")" = 2
says 'raccoon is a new class of 2 pictures'
rm cut.png

head -c $(($(wc -c <pics/2.jpg) - 40)) pics/2.jpg >cut.jpg
refused 1 'cut\.jpg' enroll cut.gallery raccoon cut.jpg
run enroll cut.gallery raccoon cut.jpg --allow-truncated
check '--allow-truncated takes it' test "$status" = 0 -a -s cut.gallery
rm cut.*
refused 2 'unknown device "abacus"' enroll my.gallery raccoon e.png --device abacus

# Labels
for label in '' ' a' 'a ' $'a\nb' $'a\tb' $'\x7f' $'\xff' "$(printf 'x%.0s' {1..256})"; do
    refused 2 'label' enroll my.gallery "$label" d.png
done
accepted enroll my.gallery 'Straßenkatze, "Mimi"' d.png
says '^my\.gallery: Straßenkatze, "Mimi" is a new class'

# Galleries that are none, damaged, or of another model
cp my.gallery good
size=$(wc -c <good)
for at in 0 1 7 8 100 $((size / 2)) $((size - 1)); do
    head -c "$at" good >cut.gallery
    refused 1 'cut\.gallery' enroll cut.gallery raccoon d.png
    refused 1 'cut\.gallery' classify d.png --gallery cut.gallery
done
cp good nan.gallery
printf '\377\377\377\377' | dd of=nan.gallery bs=1 seek=$((size - 4)) conv=notrunc status=none
refused 1 'nan\.gallery.*(finite|not a number)' enroll nan.gallery raccoon d.png
refused 1 'nan\.gallery.*(finite|not a number)' classify d.png --gallery nan.gallery
refused 2 'm\.safetensors' enroll my.gallery raccoon d.png --model other.safetensors
refused 2 'm\.safetensors' classify d.png --gallery my.gallery --model other.safetensors
refused 1 'd\.png' enroll d.png raccoon pics
refused 1 'pics' enroll pics raccoon d.png
refused 1 'nowhere' enroll nowhere/my.gallery raccoon d.png
check 'the good one is as it was' cmp good my.gallery

# Writers at once wait for each other; nothing is lost.
rm my.gallery
for n in 1 2 3 4; do
    "$SOFTLENS" enroll my.gallery "class $n" d.png pics >"$outside/out$n" 2>&1 &
done
wait
for n in 1 2 3 4; do
    run enroll my.gallery "class $n" e.png
    says "adds to class $n: 4 \\+ 1 pictures"
done

# A full disk: the old gallery stays whole.
cp my.gallery before
(
    ulimit -f 1
    exec "$SOFTLENS" enroll my.gallery raccoon pics
) >"$outside/out" 2>"$outside/err"
status=$?
check 'no room to write: status 1' test "$status" = 1
check '  a line' one_line
check '  the gallery is as it was' cmp my.gallery before
check '  nothing lies beside it' test -z "$(find . -name '*my.gallery?*')"

# A signal: nothing is written.
mkfifo held
env --default-signal=INT,TERM "$SOFTLENS" enroll my.gallery raccoon pics held >"$outside/out" \
    2>"$outside/err" </dev/null &
pid=$!
exec 3>held
kill -INT "$pid"
cat d.png >&3
exec 3>&-
wait "$pid"
status=$?
check 'a signal: status 130' test "$status" = 130
check '  the gallery is as it was' cmp my.gallery before
finish
