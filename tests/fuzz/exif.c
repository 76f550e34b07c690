// SPDX-License-Identifier: MIT
// tests/fuzz/exif.c: any bytes as an EXIF block; a reset must hold, and touch only what it must.
// What is written anew without pictures must be small, readable, and end where it says.
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void strip(const uint8_t *data, size_t size)
{
    static sl_ctx *ctx;
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    sl_blob from = { (uint8_t *)(uintptr_t)data, size }, out, again;
    if (sl_exif_strip(ctx, &from, size % 2, &out) != SL_OK)
        abort();
    if (out.size > 2 * size + 5000)
        abort();
    if (out.size > 0) {
        if (sl_exif_strip(ctx, &out, size % 2, &again) != SL_OK || again.size == 0 ||
            again.size > out.size)
            abort();
        sl_blob_free(&again);
    }
    sl_blob_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    strip(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    unsigned before = sl_exif_orientation(copy, size);
    if (before < 1 || before > 8)
        abort();
    sl_exif_set_orientation(copy, size, 1);
    if (sl_exif_orientation(copy, size) != 1)
        abort();
    sl_exif_turn(copy, size, true);
    free(copy);
    return 0;
}
