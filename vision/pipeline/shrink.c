// SPDX-License-Identifier: MIT
// pipeline/shrink.c: means of squares of pixels, and changes of those means enlarged again.
#include "pipeline/shrink.h"

static size_t colours_of(const sl_image *image)
{
    return image->channels >= 3 ? 3 : 1;
}

// ---- smaller

typedef struct shrinking {
    const sl_image *image;
    sl_image *out;
    uint32_t factor;
} shrinking;

static uint32_t sum_square(const sl_image *image, uint32_t x0, uint32_t x1, uint32_t y0,
                           uint32_t y1, size_t channel)
{
    uint32_t sum = 0; // of at most 256 samples
    for (uint32_t y = y0; y < y1; y++) {
        const uint8_t *bytes = sl_image_row_const(image, y);
        const uint16_t *words = sl_image_row_const(image, y);
        for (uint32_t x = x0; x < x1; x++) {
            size_t at = (size_t)x * image->channels + channel;
            sum += image->depth == 16 ? words[at] : bytes[at] * 257u;
        }
    }
    return sum;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void shrink_row(void *arg, size_t row, unsigned worker)
{
    const shrinking *s = arg;
    const sl_image *image = s->image;
    size_t colours = s->out->channels;
    uint16_t *to = sl_image_row(s->out, (uint32_t)row);
    uint32_t y0 = (uint32_t)row * s->factor, y1 = least(y0 + s->factor, image->height);
    (void)worker;
    for (uint32_t x = 0; x < s->out->width; x++) {
        uint32_t x0 = x * s->factor, x1 = least(x0 + s->factor, image->width);
        uint32_t count = (x1 - x0) * (y1 - y0);
        for (size_t k = 0; k < colours; k++)
            to[x * colours + k] =
                (uint16_t)((sum_square(image, x0, x1, y0, y1, k) + count / 2) / count);
    }
}

sl_status sl_shrink_picture(sl_ctx *ctx, const sl_image *image, uint32_t factor, sl_image **out)
{
    double start = sl_trace_start(ctx);
    uint32_t width = (image->width - 1) / factor + 1, height = (image->height - 1) / factor + 1;
    sl_status st = sl_image_new(ctx, width, height, (unsigned)colours_of(image), 16, out);
    if (st != SL_OK)
        return st;
    shrinking s = { image, *out, factor };
    sl_pool_run(ctx->pool, shrink_row, &s, height);
    sl_trace_end(ctx, "shrink", start);
    return SL_OK;
}

// ---- larger

// What `after` is more than `before`, as shares of white. Plain lines of samples first: pictures
// without alpha, of eight or sixteen bits.
static void change_row(const sl_image *before, const sl_image *after, uint32_t y, float *line)
{
    const void *from = sl_image_row_const(before, y), *to = sl_image_row_const(after, y);
    const uint8_t *bytes = from, *new_bytes = to;
    const uint16_t *words = from, *new_words = to;
    size_t colours = colours_of(before), channels = before->channels;
    size_t samples = before->width * colours;
    if (channels == colours && before->depth == 16)
        for (size_t i = 0; i < samples; i++)
            line[i] = (float)(new_words[i] - words[i]) / 65535.0f;
    else if (channels == colours)
        for (size_t i = 0; i < samples; i++)
            line[i] = (float)(new_bytes[i] - bytes[i]) / 255.0f;
    else
        for (size_t x = 0; x < before->width; x++)
            for (size_t k = 0; k < colours; k++) {
                size_t at = x * channels + k;
                line[x * colours + k] = before->depth == 16
                                            ? (float)(new_words[at] - words[at]) / 65535.0f
                                            : (float)(new_bytes[at] - bytes[at]) / 255.0f;
            }
}

sl_status sl_enlarger_new(sl_ctx *ctx, uint32_t factor, uint32_t width, uint32_t height,
                          uint32_t large_width, sl_enlarger *out)
{
    *out = (sl_enlarger) { .factor = factor,
                           .width = width,
                           .height = height,
                           .large_width = large_width,
                           .column = sl_alloc(ctx, large_width, sizeof(sl_between)) };
    if (!out->column)
        return SL_ERR_NOMEM;
    for (uint32_t x = 0; x < large_width; x++)
        out->column[x] = sl_between_cells(x, factor, width);
    return SL_OK;
}

void sl_enlarger_free(sl_enlarger *e)
{
    free(e->column);
    *e = (sl_enlarger) { 0 };
}

// What lies between two small rows, which may be `line` itself, in the columns of the large
// picture.
static void enlarge_between(const sl_enlarger *e, const float *upper, const float *under,
                            float share, size_t colours, float *line, float *out)
{
    for (size_t i = 0; i < e->width * colours; i++)
        line[i] = sl_mix(upper[i], under[i], share);
    for (size_t x = 0; x < e->large_width; x++) {
        const float *first = line + e->column[x].first * colours;
        const float *second = line + e->column[x].second * colours;
        for (size_t k = 0; k < colours; k++)
            out[x * colours + k] = sl_mix(first[k], second[k], e->column[x].share);
    }
}

void sl_enlarge_map_row(const sl_enlarger *e, const float *map, uint32_t y, float *line, float *out)
{
    if (e->factor == 1) {
        memcpy(out, map + (size_t)y * e->width, e->width * sizeof(*out));
        return;
    }
    sl_between rows = sl_between_cells(y, e->factor, e->height);
    enlarge_between(e, map + rows.first * e->width, map + rows.second * e->width, rows.share, 1,
                    line, out);
}

void sl_enlarge_change_row(const sl_enlarger *e, const sl_image *before, const sl_image *after,
                           uint32_t y, float *lines, float *out)
{
    if (e->factor == 1) {
        change_row(before, after, y, out);
        return;
    }
    size_t colours = colours_of(before);
    float *under = lines + e->width * colours;
    sl_between rows = sl_between_cells(y, e->factor, e->height);
    change_row(before, after, (uint32_t)rows.first, lines);
    change_row(before, after, (uint32_t)rows.second, under);
    enlarge_between(e, lines, under, rows.share, colours, lines, out);
}

void sl_move_row(const sl_image *image, uint32_t y, const float *change, sl_image *out)
{
    size_t colours = colours_of(image);
    void *row = sl_image_row(out, y);
    memcpy(row, sl_image_row_const(image, y), image->row_bytes);
    for (size_t x = 0; x < image->width; x++)
        for (size_t k = 0; k < colours; k++)
            if (change[x * colours + k] != 0.0f)
                sl_sample_move(row, image->depth, x * image->channels + k, change[x * colours + k]);
}

typedef struct enlarging {
    const sl_image *image;
    sl_image *out;                  // or NULL: a map
    const sl_image *before, *after; // small
    float *map;                     // [height, width] of the picture, or NULL
    const float *values;            // [height, width], small
    sl_enlarger enlarger;
    float *lines; // per worker: two small rows, a large one
    size_t per_worker;
} enlarging;

static void enlarge_row(void *arg, size_t row, unsigned worker)
{
    const enlarging *e = arg;
    uint32_t y = (uint32_t)row;
    float *lines = e->lines + worker * e->per_worker;
    if (!e->out) {
        sl_enlarge_map_row(&e->enlarger, e->values, y, lines, e->map + row * e->image->width);
        return;
    }
    float *change = lines + 2 * e->enlarger.width * colours_of(e->image);
    sl_enlarge_change_row(&e->enlarger, e->before, e->after, y, lines, change);
    sl_move_row(e->image, y, change, e->out);
}

static sl_status enlarge(sl_ctx *ctx, enlarging *e, uint32_t factor, const sl_image *small)
{
    double start = sl_trace_start(ctx);
    const sl_image *image = e->image;
    e->per_worker = (2 * (size_t)small->width + image->width) * colours_of(image);
    e->lines = sl_alloc(ctx, sl_pool_size(ctx->pool), e->per_worker * sizeof(float));
    sl_status st = e->lines ? sl_enlarger_new(ctx, factor, small->width, small->height,
                                              image->width, &e->enlarger)
                            : SL_ERR_NOMEM;
    if (st == SL_OK)
        sl_pool_run(ctx->pool, enlarge_row, e, image->height);
    sl_enlarger_free(&e->enlarger);
    free(e->lines);
    sl_trace_end(ctx, "enlarge", start);
    return st;
}

sl_status sl_shrink_undo(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                         const sl_image *before, const sl_image *after, sl_image **out)
{
    enlarging e = { .image = image, .before = before, .after = after };
    sl_status st = sl_image_new_like(ctx, image, &e.out);
    if (st == SL_OK)
        st = enlarge(ctx, &e, factor, before);
    if (st != SL_OK) {
        sl_image_free(e.out);
        e.out = NULL;
    }
    *out = e.out;
    return st;
}

sl_status sl_shrink_undo_map(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                             const sl_image *small, const float *map, float **out)
{
    enlarging e = { .image = image,
                    .map = sl_alloc(ctx, image->height, image->width * sizeof(float)),
                    .values = map };
    sl_status st = e.map ? enlarge(ctx, &e, factor, small) : SL_ERR_NOMEM;
    if (st != SL_OK) {
        free(e.map);
        e.map = NULL;
    }
    *out = e.map;
    return st;
}
