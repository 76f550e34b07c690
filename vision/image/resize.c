// SPDX-License-Identifier: MIT
// image/resize.c: the square that a classifier sees. Follows Pillow's resampling to the bit:
// weights in double, rounded to 22 binary places; rows first, rounded to 8 bits, then columns.
#include "image/codec.h"

#include <math.h>

#define MID_GREY 128
#define SUPPORT 2.0 // pixels on each side of a sample that is not shrunk
#define PLACES 22   // binary, of a weight
#define LOW_PLACES 11
#define BLOCK 1024    // taps whose sum surely fits 32 bits
#define ROWS_A_TASK 8 // a row is too little work for a task
#define MAX_SIDE 65535u

// How one side is resampled: for each of the `crop` samples that are kept, the input pixels from
// first[i] on, taps[i] of them, times the weights from i * stride on. A weight is kept in two
// halves of 16 bits, high * 2^11 + low, for the sake of multiply-add instructions on 16 bits.
typedef struct axis {
    uint32_t crop;
    uint32_t from, to; // input pixels that any sample needs: [from, to)
    size_t stride;
    uint32_t *first, *taps;
    int16_t *high, *low;
} axis;

typedef struct resize {
    const sl_image *image;
    axis x, y;
    unsigned planes; // 1 grey, 3 RGB
    size_t columns;  // input pixels of a row that are looked at
    size_t rows;     // likewise
    uint8_t *flat;   // per worker: [columns * planes]
    int16_t *plane;  // per worker: [planes, columns]
    int16_t *narrow; // [planes, crop, rows]: after the first pass, turned so that columns are rows
    uint8_t *rgb;
} resize;

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

// The weights of the sample whose middle is `centre`, in input pixels; they sum to 1.
static void weigh(axis *a, uint32_t i, uint32_t length, double centre, double scale, double *weight)
{
    double support = SUPPORT * scale, inverse = 1.0 / scale, sum = 0;
    double from = centre - support + 0.5, to = centre + support + 0.5;
    uint32_t first = from > 0 ? (uint32_t)from : 0;
    uint32_t last = to < (double)length ? (uint32_t)to : length;
    uint32_t taps = last - first;
    for (uint32_t t = 0; t < taps; t++) {
        weight[t] = bicubic(((double)t + (double)first - centre + 0.5) * inverse);
        sum += weight[t];
    }
    for (uint32_t t = 0; t < taps; t++) {
        double w = (sum != 0.0 ? weight[t] / sum : weight[t]) * (double)(1 << PLACES);
        int32_t rounded = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
        int32_t high = rounded >> LOW_PLACES; // towards minus infinity: low is never negative
        a->high[i * a->stride + t] = (int16_t)high;
        a->low[i * a->stride + t] = (int16_t)(rounded - high * (1 << LOW_PLACES));
    }
    a->first[i] = first;
    a->taps[i] = taps;
    a->from = first < a->from ? first : a->from;
    a->to = last > a->to ? last : a->to;
}

// Half of an even or odd difference, as Python rounds it.
static uint64_t half_to_even(uint64_t n)
{
    uint64_t half = n / 2;
    return n % 2 == 0 ? half : half + half % 2;
}

// length: of the input's side; side: of that side resized.
static sl_status axis_new(sl_ctx *ctx, uint32_t length, uint64_t side, uint32_t crop, axis *a)
{
    double step = (double)length / (double)side, scale = step > 1.0 ? step : 1.0;
    uint64_t offset = half_to_even(side - crop);
    size_t count;
    *a = (axis) { .crop = crop, .from = length };
    a->stride = (size_t)ceil(SUPPORT * scale) * 2 + 1;
    if (!sl_mul(crop, a->stride, &count))
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for the weights of %u pixels", length);
    a->first = sl_alloc(ctx, crop, sizeof(*a->first));
    a->taps = sl_alloc(ctx, crop, sizeof(*a->taps));
    a->high = sl_alloc(ctx, count, sizeof(*a->high));
    a->low = sl_alloc(ctx, count, sizeof(*a->low));
    double *weight = sl_alloc(ctx, a->stride, sizeof(*weight));
    bool ok = a->first && a->taps && a->high && a->low && weight;
    for (uint32_t i = 0; i < crop && ok; i++)
        weigh(a, i, length, ((double)(offset + i) + 0.5) * step, scale, weight);
    free(weight);
    return ok ? SL_OK : SL_ERR_NOMEM;
}

static void axis_free(axis *a)
{
    free(a->first);
    free(a->taps);
    free(a->high);
    free(a->low);
}

// Sample i of a line of pixels, which begins with pixel a->from.
static uint8_t sample(const axis *a, uint32_t i, const int16_t *line)
{
    const int16_t *high = a->high + i * a->stride, *low = a->low + i * a->stride;
    int64_t sum = (int64_t)1 << (PLACES - 1);
    line += a->first[i] - a->from;
    for (uint32_t t = 0, taps = a->taps[i]; t < taps;) {
        uint32_t end = taps - t < BLOCK ? taps : t + BLOCK;
        int32_t highs = 0, lows = 0;
        for (; t < end; t++) {
            highs += line[t] * high[t];
            lows += line[t] * low[t];
        }
        sum += (int64_t)highs * (1 << LOW_PLACES) + lows;
    }
    sum >>= PLACES;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// The pixels that are looked at of input row y.from + row, a channel after the other.
static const int16_t *read_row(const resize *r, size_t row, unsigned worker)
{
    const sl_image *image = r->image;
    uint32_t y = r->y.from + (uint32_t)row;
    size_t columns = r->columns, planes = r->planes;
    int16_t *plane = r->plane + worker * planes * columns;
    const uint8_t *flat = sl_image_row_const(image, y);
    if (image->depth == 8 && image->channels == planes) {
        flat += (size_t)r->x.from * planes;
    } else {
        uint8_t *own = r->flat + worker * planes * columns;
        sl_image_span_flat(image, y, r->x.from, (uint32_t)columns, MID_GREY, own);
        flat = own;
    }
    if (planes == 1) {
        for (size_t x = 0; x < columns; x++)
            plane[x] = flat[x];
        return plane;
    }
    int16_t *green = plane + columns, *blue = green + columns;
    for (size_t x = 0; x < columns; x++) {
        plane[x] = flat[x * 3];
        green[x] = flat[x * 3 + 1];
        blue[x] = flat[x * 3 + 2];
    }
    return plane;
}

static void resize_rows(void *arg, size_t task, unsigned worker)
{
    const resize *r = arg;
    size_t end = (task + 1) * ROWS_A_TASK < r->rows ? (task + 1) * ROWS_A_TASK : r->rows;
    for (size_t row = task * ROWS_A_TASK; row < end; row++) {
        const int16_t *plane = read_row(r, row, worker);
        for (unsigned c = 0; c < r->planes; c++)
            for (uint32_t i = 0; i < r->x.crop; i++)
                r->narrow[((size_t)c * r->x.crop + i) * r->rows + row] =
                    sample(&r->x, i, plane + c * r->columns);
    }
}

static void resize_column(void *arg, size_t task, unsigned worker)
{
    const resize *r = arg;
    uint32_t crop = r->x.crop;
    (void)worker;
    for (uint32_t i = 0; i < crop; i++) {
        uint8_t *pixel = r->rgb + ((size_t)i * crop + task) * 3;
        for (unsigned c = 0; c < r->planes; c++)
            pixel[c] = sample(&r->y, i, r->narrow + ((size_t)c * crop + task) * r->rows);
        if (r->planes == 1)
            pixel[1] = pixel[2] = pixel[0];
    }
}

static sl_status make_room(sl_ctx *ctx, resize *r)
{
    size_t a_row, workers = sl_pool_size(ctx->pool), lines = (size_t)r->planes * r->x.crop;
    r->columns = r->x.to - r->x.from;
    r->rows = r->y.to - r->y.from;
    if (!sl_mul(r->columns, r->planes, &a_row))
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a row of the picture");
    bool is_direct = r->image->depth == 8 && r->image->channels == r->planes;
    r->flat = is_direct ? NULL : sl_alloc(ctx, workers, a_row);
    r->narrow = sl_alloc(ctx, r->rows, lines * sizeof(*r->narrow));
    if (a_row <= SIZE_MAX / sizeof(*r->plane))
        r->plane = sl_alloc(ctx, workers, a_row * sizeof(*r->plane));
    return r->plane && r->narrow && (r->flat || is_direct) ? SL_OK : SL_ERR_NOMEM;
}

sl_status sl_image_centre(sl_ctx *ctx, const sl_image *image, uint32_t short_side, uint32_t crop,
                          uint8_t *rgb)
{
    uint32_t w = image->width, h = image->height, least = w < h ? w : h;
    resize r = { .image = image, .planes = image->channels >= 3 ? 3 : 1, .rgb = rgb };
    if (crop < 1 || crop > short_side || short_side > MAX_SIDE)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "a crop of %u pixels from a short side of %u; 1 <= crop <= side <= %u", crop,
                       short_side, MAX_SIDE);
    double start = sl_trace_start(ctx);
    sl_status st = axis_new(ctx, w, (uint64_t)short_side * w / least, crop, &r.x);
    if (st == SL_OK)
        st = axis_new(ctx, h, (uint64_t)short_side * h / least, crop, &r.y);
    if (st == SL_OK)
        st = make_room(ctx, &r);
    if (st == SL_OK) {
        size_t tasks = r.rows / ROWS_A_TASK + (r.rows % ROWS_A_TASK != 0);
        sl_pool_run(ctx->pool, resize_rows, &r, tasks);
        sl_pool_run(ctx->pool, resize_column, &r, crop);
    }
    axis_free(&r.x);
    axis_free(&r.y);
    free(r.flat);
    free(r.plane);
    free(r.narrow);
    sl_trace_end(ctx, "resize", start);
    return st;
}
