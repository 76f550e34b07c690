// SPDX-License-Identifier: MIT
// image/fit.c: what a detector sees: a rectangle of the picture in another size. Bilinear to the
// bit as OpenCV 4 resizes 8-bit pictures (INTER_LINEAR); where asked for, and where the picture
// shrinks to less than half, means over areas instead, in which nothing is skipped.
#include "image/codec.h"

#include <math.h>

#define MID_GREY 128
#define PLACES 11 // binary, of a weight
#define ONE (1 << PLACES)

// How a side of the rectangle is resampled: sample i is pixel at[i] and the next one, by weights
// that sum to ONE.
typedef struct axis {
    uint32_t *at;
    int16_t *near, *far;
} axis;

typedef struct fit {
    const sl_image *image;
    sl_rectangle from;
    uint32_t width, height;
    axis x, y;
    double step_x, step_y; // input pixels a sample
    uint8_t *line;         // per worker: two rows of the rectangle, flat
    float *sums;           // per worker: a row of the rectangle
    unsigned planes;
    uint8_t *rgb;
} fit;

static sl_status axis_new(sl_ctx *ctx, uint32_t length, uint32_t samples, bool is_x, axis *a)
{
    double step = 1.0 / ((double)samples / (double)length);
    a->at = sl_alloc(ctx, samples, sizeof(*a->at));
    a->near = sl_alloc(ctx, samples, sizeof(*a->near));
    a->far = sl_alloc(ctx, samples, sizeof(*a->far));
    if (!a->at || !a->near || !a->far)
        return SL_ERR_NOMEM;
    for (uint32_t i = 0; i < samples; i++) {
        float place = (float)((i + 0.5) * step - 0.5);
        float whole = floorf(place), part = place - whole;
        // Of a row, what lies outside is the last pixel alone; of a column, the row at the border
        // counts twice, which rounds otherwise.
        if (is_x && (whole < 0 || whole >= (float)(length - 1)))
            part = 0;
        a->at[i] = whole < 0 ? UINT32_MAX : (uint32_t)whole;
        if (is_x && whole < 0)
            a->at[i] = 0;
        if (is_x && a->at[i] > length - 1)
            a->at[i] = length - 1;
        a->near[i] = (int16_t)lrintf((1.0f - part) * ONE);
        a->far[i] = (int16_t)lrintf(part * ONE);
    }
    return SL_OK;
}

static void axis_free(axis *a)
{
    free(a->at);
    free(a->near);
    free(a->far);
}

// Row y of the rectangle as 8 bits without alpha; in the worker's line 0 or 1 where the picture is
// not that already.
static const uint8_t *read_row(const fit *f, uint32_t y, unsigned worker, unsigned line)
{
    const sl_image *image = f->image;
    if (image->depth == 8 && image->channels == f->planes)
        return sl_image_row_const(image, f->from.y + y) + (size_t)f->from.x * f->planes;
    uint8_t *own = f->line + (2 * (size_t)worker + line) * f->from.width * f->planes;
    sl_image_span_flat(image, f->from.y + y, f->from.x, f->from.width, MID_GREY, own);
    return own;
}

static void put(const fit *f, uint8_t *pixel, unsigned c, uint8_t value)
{
    pixel[c] = value;
    if (f->planes == 1)
        pixel[1] = pixel[2] = value;
}

// ---- bilinear

static void bilinear_row(void *arg, size_t task, unsigned worker)
{
    const fit *f = arg;
    uint32_t last = f->from.height - 1, at = f->y.at[task],
             next = at + 1; // before the first: wraps
    const uint8_t *a = read_row(f, at == UINT32_MAX ? 0 : at < last ? at : last, worker, 0);
    const uint8_t *b = read_row(f, next < last ? next : last, worker, 1);
    int near_y = f->y.near[task], far_y = f->y.far[task];
    for (uint32_t i = 0; i < f->width; i++) {
        size_t p = (size_t)f->x.at[i] * f->planes;
        size_t q = f->x.far[i] ? p + f->planes : p;
        int near_x = f->x.near[i], far_x = f->x.far[i];
        uint8_t *pixel = f->rgb + (task * f->width + i) * 3;
        for (unsigned c = 0; c < f->planes; c++) {
            int above = a[p + c] * near_x + a[q + c] * far_x;
            int below = b[p + c] * near_x + b[q + c] * far_x;
            int value = ((near_y * (above >> 4)) >> 16) + ((far_y * (below >> 4)) >> 16);
            put(f, pixel, c, (uint8_t)((value + 2) >> 2));
        }
    }
}

// To exactly half of both sides OpenCV takes the mean of four.
static void half_row(void *arg, size_t task, unsigned worker)
{
    const fit *f = arg;
    const uint8_t *a = read_row(f, 2 * (uint32_t)task, worker, 0);
    const uint8_t *b = read_row(f, 2 * (uint32_t)task + 1, worker, 1);
    for (uint32_t i = 0; i < f->width; i++)
        for (unsigned c = 0; c < f->planes; c++) {
            size_t p = (size_t)2 * i * f->planes + c, q = p + f->planes;
            put(f, f->rgb + (task * f->width + i) * 3, c,
                (uint8_t)((a[p] + a[q] + b[p] + b[q] + 2) >> 2));
        }
}

// ---- by areas

// How much of pixel i lies in [from, to).
static float share(uint32_t i, double from, double to)
{
    double begin = i > from ? i : from, end = i + 1.0 < to ? i + 1.0 : to;
    return (float)(end > begin ? end - begin : 0);
}

static void area_row(void *arg, size_t task, unsigned worker)
{
    const fit *f = arg;
    unsigned planes = f->planes;
    size_t samples = (size_t)f->from.width * planes;
    float *sums = f->sums + worker * samples;
    double top = (double)task * f->step_y, bottom = top + f->step_y;
    memset(sums, 0, samples * sizeof(*sums));
    for (uint32_t y = (uint32_t)top; y < f->from.height && y < bottom; y++) {
        const uint8_t *row = read_row(f, y, worker, 0);
        float weight = share(y, top, bottom);
        for (size_t i = 0; i < samples; i++)
            sums[i] += weight * (float)row[i];
    }
    float scale = (float)(1.0 / (f->step_x * f->step_y));
    for (uint32_t i = 0; i < f->width; i++) {
        double left = (double)i * f->step_x, right = left + f->step_x;
        float sum[3] = { 0 };
        for (uint32_t x = (uint32_t)left; x < f->from.width && x < right; x++) {
            float weight = share(x, left, right);
            for (unsigned c = 0; c < planes; c++)
                sum[c] += weight * sums[(size_t)x * planes + c];
        }
        for (unsigned c = 0; c < planes; c++) {
            float value = sum[c] * scale + 0.5f;
            put(f, f->rgb + (task * f->width + i) * 3, c, value < 255 ? (uint8_t)value : 255);
        }
    }
}

// ---- the whole

static sl_status make_room(sl_ctx *ctx, fit *f, bool is_area)
{
    size_t samples = (size_t)f->from.width * f->planes, workers = sl_pool_size(ctx->pool);
    bool is_direct = f->image->depth == 8 && f->image->channels == f->planes;
    if (!is_direct && !(f->line = sl_alloc(ctx, workers, 2 * samples)))
        return SL_ERR_NOMEM;
    if (is_area)
        return (f->sums = sl_alloc(ctx, workers, samples * sizeof(float))) ? SL_OK : SL_ERR_NOMEM;
    sl_status st = axis_new(ctx, f->from.width, f->width, true, &f->x);
    return st == SL_OK ? axis_new(ctx, f->from.height, f->height, false, &f->y) : st;
}

sl_status sl_image_fit(sl_ctx *ctx, const sl_image *image, const sl_rectangle *from, uint32_t width,
                       uint32_t height, bool is_averaged, uint8_t *rgb)
{
    if (width == 0 || height == 0 || width > SL_FIT_LARGEST || height > SL_FIT_LARGEST ||
        from->width == 0 || from->height == 0 || from->x > image->width ||
        from->width > image->width - from->x || from->y > image->height ||
        from->height > image->height - from->y)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%u x %u pixels at %u,%u of a picture of %u x %u cannot become %u x %u",
                       from->width, from->height, from->x, from->y, image->width, image->height,
                       width, height);
    fit f = { .image = image,
              .from = *from,
              .width = width,
              .height = height,
              .step_x = (double)from->width / width,
              .step_y = (double)from->height / height,
              .planes = image->channels >= 3 ? 3 : 1,
              .rgb = rgb };
    bool is_half = f.step_x == 2 && f.step_y == 2;
    bool is_area = is_averaged && (f.step_x > 2 || f.step_y > 2) && !is_half;
    double start = sl_trace_start(ctx);
    sl_status st = make_room(ctx, &f, is_area);
    if (st == SL_OK)
        sl_pool_run(ctx->pool, is_area ? area_row : is_half ? half_row : bilinear_row, &f, height);
    axis_free(&f.x);
    axis_free(&f.y);
    free(f.line);
    free(f.sums);
    sl_trace_end(ctx, "resize", start);
    return st;
}
