// SPDX-License-Identifier: MIT
// pipeline/shrink.c: means of squares of pixels, and changes of those means enlarged again.
#include "pipeline/shrink.h"

#include "pipeline/between.h"

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

// Plain lines of samples first: a picture without alpha, eight or sixteen bits.
void sl_change_row(const sl_image *before, const sl_image *after, uint32_t y, float *line)
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

typedef struct enlarging {
    const sl_image *image;
    sl_image *out;                  // or NULL: a map
    const sl_image *before, *after; // small
    float *map;                     // [height, width] of the picture, or NULL
    const float *values;            // [height, width], small
    uint32_t factor, width, height;
    size_t colours;
    sl_between *columns; // of the picture
    float *lines;        // per worker: two rows of the small one
} enlarging;

static void add_to_row(const enlarging *e, const float *line, uint32_t y)
{
    const sl_image *image = e->image;
    void *row = sl_image_row(e->out, y);
    memcpy(row, sl_image_row_const(image, y), image->row_bytes);
    for (size_t x = 0; x < image->width; x++) {
        const float *first = line + e->columns[x].first * e->colours;
        const float *second = line + e->columns[x].second * e->colours;
        for (size_t k = 0; k < e->colours; k++) {
            float change = sl_mix(first[k], second[k], e->columns[x].share);
            if (change != 0.0f)
                sl_sample_move(row, image->depth, x * image->channels + k, change);
        }
    }
}

static void enlarge_row(void *arg, size_t row, unsigned worker)
{
    const enlarging *e = arg;
    size_t n = e->width * e->colours;
    float *line = e->lines + worker * 2 * n, *under = line + n;
    sl_between rows = sl_between_cells(row, e->factor, e->height);
    if (e->out) {
        sl_change_row(e->before, e->after, (uint32_t)rows.first, line);
        sl_change_row(e->before, e->after, (uint32_t)rows.second, under);
    } else {
        memcpy(line, e->values + rows.first * n, n * sizeof(*line));
        memcpy(under, e->values + rows.second * n, n * sizeof(*line));
    }
    for (size_t i = 0; i < n; i++)
        line[i] = sl_mix(line[i], under[i], rows.share);
    if (e->out) {
        add_to_row(e, line, (uint32_t)row);
        return;
    }
    float *to = e->map + row * e->image->width;
    for (size_t x = 0; x < e->image->width; x++)
        to[x] = sl_mix(line[e->columns[x].first], line[e->columns[x].second], e->columns[x].share);
}

static sl_status enlarge(sl_ctx *ctx, enlarging *e)
{
    double start = sl_trace_start(ctx);
    const sl_image *image = e->image;
    e->columns = sl_alloc(ctx, image->width, sizeof(*e->columns));
    e->lines = sl_alloc(ctx, sl_pool_size(ctx->pool), 2 * e->width * e->colours * sizeof(float));
    bool ok = e->columns && e->lines;
    for (uint32_t x = 0; x < image->width && ok; x++)
        e->columns[x] = sl_between_cells(x, e->factor, e->width);
    if (ok)
        sl_pool_run(ctx->pool, enlarge_row, e, image->height);
    free(e->columns);
    free(e->lines);
    sl_trace_end(ctx, "enlarge", start);
    return ok ? SL_OK : SL_ERR_NOMEM;
}

sl_status sl_shrink_undo(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                         const sl_image *before, const sl_image *after, sl_image **out)
{
    enlarging e = { .image = image,
                    .before = before,
                    .after = after,
                    .factor = factor,
                    .width = before->width,
                    .height = before->height,
                    .colours = before->channels };
    sl_status st = sl_image_new_like(ctx, image, &e.out);
    if (st == SL_OK)
        st = enlarge(ctx, &e);
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
                    .values = map,
                    .factor = factor,
                    .width = small->width,
                    .height = small->height,
                    .colours = 1 };
    sl_status st = e.map ? enlarge(ctx, &e) : SL_ERR_NOMEM;
    if (st != SL_OK) {
        free(e.map);
        e.map = NULL;
    }
    *out = e.map;
    return st;
}
