// SPDX-License-Identifier: MIT
// image/orient.c: turns a picture upright, once, when it is loaded.
#include "image/codec.h"

#define BLOCK 64 // pixels: a block of source and target stays in the first cache

// Where the target's pixel (0, 0) lies in the source, and how far its neighbours are, in bytes.
typedef struct walk {
    const uint8_t *origin;
    ptrdiff_t right, down;
} walk;

static inline void copy_block(const walk *w, sl_image *to, uint32_t x0, uint32_t y0, size_t bytes)
{
    uint32_t x1 = to->width - x0 < BLOCK ? to->width : x0 + BLOCK;
    uint32_t y1 = to->height - y0 < BLOCK ? to->height : y0 + BLOCK;
    for (uint32_t y = y0; y < y1; y++) {
        const uint8_t *s = w->origin + w->down * (ptrdiff_t)y + w->right * (ptrdiff_t)x0;
        uint8_t *d = to->pixels + to->row_bytes * y + (size_t)x0 * bytes;
        for (uint32_t x = x0; x < x1; x++, s += w->right, d += bytes)
            memcpy(d, s, bytes);
    }
}

// A constant size lets the compiler make each copy a move or two.
static void copy_one(const walk *w, sl_image *to, uint32_t x0, uint32_t y0, size_t bytes)
{
    switch (bytes) {
    case 1:
        copy_block(w, to, x0, y0, 1);
        break;
    case 2:
        copy_block(w, to, x0, y0, 2);
        break;
    case 3:
        copy_block(w, to, x0, y0, 3);
        break;
    case 4:
        copy_block(w, to, x0, y0, 4);
        break;
    default:
        copy_block(w, to, x0, y0, bytes);
    }
}

// orientation:  1  2  3  4  5  6  7  8
// transposed                x  x  x  x     then, seen in the source:
// mirrored x       x  x           x  x     x counts down
// mirrored y          x  x     x  x        y counts down
static walk make_walk(const sl_image *from, unsigned orientation, size_t bytes)
{
    bool transposed = orientation >= 5;
    bool left = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool up = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    ptrdiff_t pixel = (ptrdiff_t)bytes, row = (ptrdiff_t)from->row_bytes;
    ptrdiff_t along_x = left ? -pixel : pixel, along_y = up ? -row : row;
    walk w = {
        .origin = from->pixels + (left ? (size_t)(from->width - 1) * bytes : 0) +
                  (up ? (size_t)(from->height - 1) * from->row_bytes : 0),
        .right = transposed ? along_y : along_x,
        .down = transposed ? along_x : along_y,
    };
    return w;
}

static void swap_sides(sl_image *image)
{
    uint32_t density = image->density_x;
    image->density_x = image->density_y;
    image->density_y = density;
    int chroma = image->chroma_h;
    image->chroma_h = image->chroma_v;
    image->chroma_v = chroma;
}

typedef struct turn {
    walk walk;
    sl_image *to;
    size_t bytes; // of a pixel
} turn;

static void turn_rows(void *arg, size_t task, unsigned worker)
{
    const turn *t = arg;
    (void)worker;
    for (uint64_t x = 0; x < t->to->width; x += BLOCK)
        copy_one(&t->walk, t->to, (uint32_t)x, (uint32_t)(task * BLOCK), t->bytes);
}

sl_status sl_image_oriented(sl_ctx *ctx, const sl_image *image, unsigned orientation,
                            sl_image **out)
{
    bool is_transposed = orientation >= 5;
    sl_status st = sl_image_new(ctx, is_transposed ? image->height : image->width,
                                is_transposed ? image->width : image->height, image->channels,
                                image->depth, out);
    if (st != SL_OK)
        return st;
    sl_image_copy_notes(image, *out);
    if (is_transposed)
        swap_sides(*out);
    size_t bytes = (size_t)image->channels * (image->depth / 8u);
    turn t = { make_walk(image, orientation, bytes), *out, bytes };
    sl_pool_run(ctx->pool, turn_rows, &t, ((size_t)(*out)->height + BLOCK - 1) / BLOCK);
    return SL_OK;
}

sl_status sl_image_orient(sl_ctx *ctx, sl_image *image, unsigned orientation)
{
    sl_image *turned = NULL;
    if (orientation < 2 || orientation > 8)
        return SL_OK;
    sl_status st = sl_image_oriented(ctx, image, orientation, &turned);
    if (st != SL_OK)
        return st;
    uint8_t *old = image->pixels;
    image->pixels = turned->pixels;
    turned->pixels = old;
    image->width = turned->width;
    image->height = turned->height;
    image->row_bytes = turned->row_bytes;
    sl_image_copy_notes(turned, image);
    sl_image_free(turned);
    return SL_OK;
}
