// SPDX-License-Identifier: MIT
// tests/pipeline/photo.h: what the suites of the detector begin with: a picture full of edges.
#ifndef TESTS_PIPELINE_PHOTO_H
#define TESTS_PIPELINE_PHOTO_H

#include "../net/edit.h"
#include "image/image.h"

static inline void ok(sl_status st)
{
    ck_assert_msg(st == SL_OK, "%s", sl_ctx_message(ctx));
}

static inline sl_image *photo(uint32_t width, uint32_t height, bool mirrored)
{
    sl_image *image;
    ok(sl_image_new(ctx, width, height, 3, 8, &image));
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = sl_image_row(image, y);
        for (uint32_t x = 0; x < width; x++) {
            uint32_t at = mirrored ? width - 1 - x : x;
            for (unsigned c = 0; c < 3; c++)
                row[x * 3 + c] =
                    (uint8_t)((at * at / 37 + y * (3 + c) + (at / 19) * (y / 23) * 40) % 256);
        }
    }
    return image;
}

#endif
