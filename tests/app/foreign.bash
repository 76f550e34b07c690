# SPDX-License-Identifier: MIT
# tests/app/foreign.bash: pictures of kinds that are read and not written, alone and in folders.
# HEIF and TIFF are 1 where the program was built to read HEIC and AVIF, and TIFF.
# shellcheck source=lib.bash disable=SC2154,SC2317
. "${BASH_SOURCE%/*}/lib.bash"
make model m.safetensors good
cp "$ROOT"/tests/data/image/{lossless,turned,animated}.webp .
cp "$ROOT/tests/data/image/exif.heic" IMG_1.HEIC

is_jpeg() # FILE
{
    [ "$(head -c 3 "$1" | od -An -tx1)" = ' ff d8 ff' ]
}
is_png() # FILE
{
    [ "$(head -c 4 "$1" | od -An -tx1)" = ' 89 50 4e 47' ]
}

run deblur lossless.webp turned.webp --model m.safetensors
check 'WebP: status 0' test "$status" = 0
check '  without loss becomes PNG' is_png lossless.deblurred.png
check '  with loss becomes JPEG' is_jpeg turned.deblurred.jpg
refused 2 'end the name in \.png or \.jpg' deblur turned.webp --model m.safetensors -o out.webp
refused 1 'an animation' deblur animated.webp --model m.safetensors
# As every tool writes it that keeps metadata: more is said first, and nothing of alpha.
{
    printf 'RIFF\x6e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x2f\0\0\x1f\0\0ABCD\3\0\0\0abc\0'
    tail -c +13 lossless.webp
} >extended.webp
run deblur extended.webp --model m.safetensors
check '  without loss, behind more, too' is_png extended.deblurred.png
run deblur turned.webp --model m.safetensors --format png
check 'as it is asked for' is_png turned.deblurred.png
"$SOFTLENS" deblur - -o - --model m.safetensors <turned.webp >"$outside/picture" 2>"$outside/err"
check 'through a pipe' is_jpeg "$outside/picture"
head -c 500 turned.webp >cut.webp
refused 1 'cut\.webp: damaged WebP' deblur cut.webp --model m.safetensors
rm cut.webp animated.webp ./*.deblurred.*

cp "$ROOT/tests/data/image/flat.tif" scan.tif
if [ "$TIFF" = 1 ]; then
    run deblur scan.tif --model m.safetensors
    check 'TIFF becomes PNG' is_png scan.deblurred.png
    refused 2 'is read and not written' deblur scan.tif --model m.safetensors -o out.tif
    head -c 700 scan.tif >cut.tif
    refused 1 'cut\.tif: damaged TIFF' deblur cut.tif --model m.safetensors
    rm cut.tif scan.deblurred.png
    mkdir scans lib
    cp scan.tif scans
    : >lib/libtiff.so.6
    LD_LIBRARY_PATH=$PWD/lib run batch deblur scans -o read/ --model m.safetensors
    check 'without libtiff: status 3' test "$status" = 3
    check '  says why and what to do' grep -q 'libtiff reads (.*file too short); install it (libtiff6.*--retry-failed' "$outside/err"
    run batch deblur scans -o read/ --model m.safetensors --retry-failed
    check '  and then it is read' test "$status" = 0 -a -e read/scan.png
    rm -r scans lib read
else
    refused 1 'built without the header of libtiff' deblur scan.tif --model m.safetensors
    cp lossless.webp scan.webp
    rm scan.tif
fi

if [ "$HEIF" = 1 ]; then
    run deblur IMG_1.HEIC --model m.safetensors
    check 'HEIC becomes JPEG' is_jpeg IMG_1.deblurred.jpg
    rm IMG_1.deblurred.jpg
    cp "$ROOT/tests/data/image/alpha.heic" alpha.heic
    run deblur alpha.heic --model m.safetensors
    check '  with alpha PNG' is_png alpha.deblurred.png
    rm alpha.deblurred.png
else
    refused 1 'built without the header of libheif' deblur IMG_1.HEIC --model m.safetensors
    rm IMG_1.HEIC
    cp turned.webp IMG_1.webp
    cp lossless.webp alpha.webp
fi

# Nothing is blurred here, so that pictures are linked or copied where that may be.
make picture sharp.png 64x48
run batch deblur . -o out/ --model m.safetensors --dense
check 'in a folder: status 0' test "$status" = 0
check '  each by a name of its kind' test "$(echo out/*)" = 'out/IMG_1.jpg out/alpha.png out/extended.png out/lossless.png out/scan.png out/sharp.png out/turned.jpg'
check '  which it is' is_jpeg out/IMG_1.jpg
check '  and so are the others' eval "is_png out/lossless.png && is_png out/alpha.png && is_png out/extended.png && is_png out/scan.png && is_jpeg out/turned.jpg"
run batch deblur . -o out/ --model m.safetensors --dense
check 'again: nothing to do' grep -q '7 done before' "$outside/out"
finish
