# SPDX-License-Identifier: MIT
# tests/app/gallery.bash: galleries and tables of basis vectors through the program.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
make gallery my.gallery m.safetensors newt 5
make gallery my.gallery m.safetensors raccoon 3
make gallery other.gallery m.safetensors owl 2
make gallery other.gallery m.safetensors newt 1

# Looking
accepted gallery my.gallery
says '^my.gallery: 2 classes, 8 pictures, of the model m.safetensors$'
says '^  newt +5 +[0-9.]+ degrees from raccoon$'
says '^  raccoon +3 +[0-9.]+ degrees from newt$'
cp "$outside/out" "$outside/list"
accepted gallery my.gallery list
check '  list is what is done without an action' cmp -s "$outside/out" "$outside/list"
accepted gallery my.gallery export
says '"label": "raccoon"'
says '"backbone": "[0-9a-f]{64}"'
cp "$outside/out" "$outside/json"
accepted gallery my.gallery --json
check '  --json is the export' cmp -s "$outside/out" "$outside/json"
accepted gallery my.gallery check --model m.safetensors
says 'every class is what its pictures give; 2 classes, 8 pictures'
accepted gallery my.gallery threshold --unknown-rate 0.1
says '^unknown rate: +0\.1$'
says 'score: +cosine'
says 'pictures: +8'
accepted gallery my.gallery threshold --json
says '"unknown_rate": 0.05'
accepted gallery my.gallery --quiet
check '  --quiet says nothing' test ! -s "$outside/out"

# Changing
accepted gallery my.gallery rename newt 'great newt'
says 'newt is now great newt; 2 classes, 8 pictures'
refused 2 'no class "newt"' gallery my.gallery rename newt x
refused 2 'has a class "raccoon" already' gallery my.gallery rename 'great newt' raccoon
refused 2 'a label is empty' gallery my.gallery rename raccoon ''
refused 2 'a label cannot be printed' gallery my.gallery rename raccoon $'rac\tcoon'
refused 2 'a label cannot be printed' gallery my.gallery rename raccoon $'rac\xffcoon'
refused 2 'a label cannot be printed' gallery my.gallery rename raccoon ' raccoon'
refused 2 'no class "owl"' gallery my.gallery remove owl
accepted gallery my.gallery merge other.gallery
says 'other.gallery is merged in; 4 classes, 11 pictures'
accepted gallery my.gallery merge other.gallery
says 'other.gallery is merged in; 4 classes, 11 pictures'
ln -s my.gallery link.gallery
refused 2 'is the gallery itself' gallery my.gallery merge link.gallery
accepted gallery link.gallery remove owl
check 'a link stays a link' test -L link.gallery
accepted gallery my.gallery
says '3 classes, 9 pictures'
accepted gallery link.gallery merge other.gallery
ln -sf nowhere.gallery link.gallery
refused 1 'leads nowhere' gallery link.gallery remove owl
rm link.gallery
accepted gallery my.gallery remove owl --json
says '"pictures": 9'
# A lock that another user left is waited for like one's own, and nobody holds it any more.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    mkdir shared
    cp my.gallery shared/
    : >shared/.my.gallery.lock
    chmod 755 . && chmod 777 shared && chmod 666 shared/my.gallery && chmod 644 shared/.my.gallery.lock
    setpriv --reuid=65534 --regid=65534 --clear-groups "$SOFTLENS" gallery shared/my.gallery rename newt eft \
        >"$outside/out" 2>"$outside/err"
    status=$?
    check "another user's lock" test "$status" = 0
    chmod 755 shared
    rm -f shared/.my.gallery.lock
    setpriv --reuid=65534 --regid=65534 --clear-groups "$SOFTLENS" gallery shared/my.gallery rename eft newt \
        >"$outside/out" 2>"$outside/err"
    check "another user's folder" grep -q 'Permission denied' "$outside/err"
    rm -r shared
fi
accepted gallery my.gallery check
check 'no lock is left' test ! -e .my.gallery.lock

# Others' files
cp m.safetensors n.safetensors
printf '\x01' | dd of=n.safetensors bs=1 seek=$(($(wc -c <n.safetensors) - 1)) conv=notrunc 2>/dev/null
refused 2 'made with the model m.safetensors \([0-9a-f]{12}\), not with n.safetensors' \
    gallery my.gallery --model n.safetensors
make gallery foreign.gallery n.safetensors cat 1
refused 2 'galleries of one model alone' gallery my.gallery merge foreign.gallery
refused 1 'nowhere' gallery nowhere
refused 1 'nowhere' gallery nowhere remove a
refused 1 'nowhere' gallery my.gallery merge nowhere
refused 1 'not a gallery' gallery m.safetensors
refused 1 'nowhere' gallery my.gallery --model nowhere
size=$(wc -c <my.gallery)
for at in 0 1 8 100 $((size / 2)) $((size - 1)); do
    head -c "$at" my.gallery >cut.gallery
    refused 1 'cut\.gallery' gallery cut.gallery
    refused 1 'cut\.gallery' gallery cut.gallery remove newt
    refused 1 'cut\.gallery' gallery my.gallery merge cut.gallery
done

# A full disk: the gallery that was there stays.
make gallery big.gallery m.safetensors newt 100
make gallery big.gallery m.safetensors owl 1
before=$(snapshot)
(ulimit -f 4; exec "$SOFTLENS" gallery big.gallery remove owl) >"$outside/out" 2>"$outside/err"
status=$?
check 'no room: status 1' test "$status" = 1
check '  a line' one_line
check '  nothing is changed' test "$before" = "$(snapshot)"

# Writers at the same time
make gallery shared.gallery m.safetensors first 1
for label in a b c; do
    for ((i = 0; i < 4; i++)); do
        "$MAKER" gallery shared.gallery m.safetensors "$label" 1 || exit 1
    done &
done
"$SOFTLENS" gallery shared.gallery rename first renamed >/dev/null 2>"$outside/err"
check 'a change among others: status 0' test $? = 0
wait
accepted gallery shared.gallery
says 'shared.gallery: 4 classes, 13 pictures'
accepted gallery shared.gallery check

# Tables of basis vectors
accepted ebv --classes 100 --dim 64 --alpha 0.1 -o t.safetensors
says '^t.safetensors: 100 vectors in 64 dimensions, \|cosine\| at most 0.100'
refused 1 't.safetensors: already exists' ebv --classes 9 --dim 8 -o t.safetensors
accepted ebv --classes 9 --dim 8 -o t.safetensors --overwrite --json --seed 7
says '"max_cosine": 0.125, .*"is_reached": true, "steps": 0'
check '  one line of JSON' "$MAKER" is-json "$outside/out" 1
accepted ebv --classes 9 --dim 8 -o seed.safetensors
check '  another seed, another table' test "$(cksum <seed.safetensors)" != "$(cksum <t.safetensors)"
run ebv --classes 50 --dim 8 --alpha 0.01 --steps 50 -o u.safetensors
check 'below the bound: status 0' test "$status" = 0
check '  a warning before and one after' test "$(grep -c warning "$outside/err")" = 2
check '  the best set is there' test -s u.safetensors
rm u.safetensors
refused 2 'are more than' ebv --classes 65536 --dim 65536 -o u.safetensors
refused 1 'nowhere' ebv --classes 9 --dim 8 -o nowhere/u.safetensors
before=$(snapshot)
env --default-signal=INT "$SOFTLENS" ebv --classes 3000 --dim 300 --steps 100000 --alpha 0.03 \
    -o u.safetensors >"$outside/out" 2>"$outside/err" &
pid=$!
sleep 1
kill -INT "$pid"
wait "$pid"
status=$?
check 'interrupted: status 130' test "$status" = 130
check '  no file' test "$before" = "$(snapshot)"
finish
