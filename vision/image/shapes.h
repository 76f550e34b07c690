// SPDX-License-Identifier: MIT
// image/shapes.h: what is drawn on a picture, in its own depth, in place and without allocating.
// Pictures are RGB or RGBA (sl_image_to_rgb) but for sl_image_hide; what lies outside is left out.
#ifndef SL_IMAGE_SHAPES_H
#define SL_IMAGE_SHAPES_H

#include "image/text.h"

// Whole pixels; right and bottom are the first that do not belong to it. Coordinates stay within
// SL_FARTHEST of 0.
typedef struct sl_rect {
    int64_t left, top, right, bottom;
} sl_rect;

#define SL_FARTHEST ((int64_t)1 << 40)

typedef struct sl_colour {
    uint8_t r, g, b;
} sl_colour;

// The common part; empty ones have left >= right or top >= bottom.
sl_rect sl_rect_cut(sl_rect a, sl_rect b);
bool sl_rect_is_empty(sl_rect r);
sl_rect sl_rect_of_image(const sl_image *image);

// opacity: 0 .. 255. Corners are rounded by `radius` pixels, and smoothed.
void sl_draw_plate(sl_image *image, sl_rect rect, uint32_t radius, sl_colour colour,
                   unsigned opacity);
// A line along the inside of `rect`.
void sl_draw_frame(sl_image *image, sl_rect rect, uint32_t thickness, uint32_t radius,
                   sl_colour colour, unsigned opacity);
// The mask's first pixel comes to (x, y).
void sl_draw_mask(sl_image *image, int64_t x, int64_t y, const sl_mask *mask, sl_colour colour);

// What is in `rect` becomes a smooth patch of at most 6 x 6 mean colours, each of at least 8 pixels
// a side where the rectangle has them: nothing finer is left to recognise or to restore.
void sl_image_hide(sl_image *image, sl_rect rect);

// Grey becomes RGB, grey+alpha RGBA, in place; colours as before: a profile for grey is applied and
// dropped, one for RGB stays. SL_ERR_NOMEM: as it was.
sl_status sl_image_to_rgb(sl_ctx *ctx, sl_image *image);

#endif
