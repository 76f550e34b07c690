// SPDX-License-Identifier: MIT
// pipeline/looks.c: changes of several sizes, measured and added up row by row of the finest.
#include "pipeline/looks.h"

#define CELL 32        // pixels of the finest look
#define LEAST_LONG 320 // sides of what is looked at: with less of a picture there is no telling
#define LEAST_SHORT 64
#define FADED 0.1 // of the energy of the look before: less was not seen again
#define CALM 3.0f // what the whole picture says against what a cell says, by their energies

size_t sl_looks_choose(uint32_t width, uint32_t height, uint32_t factor[SL_LOOKS_MOST])
{
    uint32_t longer = width > height ? width : height, shorter = width + height - longer;
    uint32_t first = 1;
    size_t count = 0;
    while (first < SL_SHRINK_MOST && longer / (2 * first) >= LEAST_LONG &&
           shorter / (2 * first) >= LEAST_SHORT)
        first *= 2;
    for (; first > 0; first /= 2)
        factor[count++] = first;
    return count;
}

// ---- rows of changes

typedef struct rows_of {
    const sl_looks *looks;
    const sl_look *finest;
    size_t colours;
    sl_enlarger enlarger[SL_LOOKS_MOST], cells; // to the finest
    float *buffer;                              // per worker
    size_t per_worker;                          // floats
    double *sums;                               // per worker: [columns]
    float *weight[SL_LOOKS_MOST];               // [rows, columns] of cells
    float *heat;                                // joined
    size_t measured, measured_end;              // looks
} rows_of;

// What look i changes in row y of the finest, [width, colours]; `line`: as much again, twice.
static void look_row(const rows_of *r, size_t i, uint32_t y, float *line, float *out)
{
    const sl_look *look = &r->looks->look[i];
    sl_enlarge_change_row(&r->enlarger[i], look->before, look->after, y, line, out);
}

static sl_status rows_new(const sl_looks *looks, rows_of *r)
{
    sl_ctx *ctx = looks->ctx;
    *r = (rows_of) { .looks = looks, .finest = &looks->look[looks->count - 1] };
    const sl_image *fine = r->finest->before;
    r->colours = fine->channels >= 3 ? 3 : 1;
    // A row, what is added to it, two of a coarser look, weights.
    r->per_worker = (size_t)fine->width * (4 * r->colours + 1);
    r->buffer = sl_alloc(ctx, sl_pool_size(ctx->pool), r->per_worker * sizeof(float));
    r->sums = sl_alloc(ctx, sl_pool_size(ctx->pool), looks->columns * sizeof(double));
    sl_status st = r->buffer && r->sums ? SL_OK : SL_ERR_NOMEM;
    for (size_t i = 0; st == SL_OK && i < looks->count; i++) {
        const sl_look *look = &looks->look[i];
        st = sl_enlarger_new(ctx, look->factor / r->finest->factor, look->before->width,
                             look->before->height, fine->width, &r->enlarger[i]);
    }
    return st == SL_OK
               ? sl_enlarger_new(ctx, CELL, looks->columns, looks->rows, fine->width, &r->cells)
               : st;
}

static void rows_free(rows_of *r)
{
    free(r->buffer);
    free(r->sums);
    sl_enlarger_free(&r->cells);
    for (size_t i = 0; i < SL_LOOKS_MOST; i++) {
        sl_enlarger_free(&r->enlarger[i]);
        free(r->weight[i]);
    }
}

// ---- how much they change

static float square_sum(const float *values, size_t count)
{
    float lane[8] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t k = 0; k < 8; k++)
            lane[k] += values[i + k] * values[i + k];
    for (; i < count; i++)
        sum += values[i] * values[i];
    for (size_t k = 0; k < 8; k++)
        sum += lane[k];
    return sum;
}

// Where cell c ends along an axis.
static size_t cell_end(size_t c, size_t pixels)
{
    return (c + 1) * CELL < pixels ? (c + 1) * CELL : pixels;
}

static void measure_cells(void *arg, size_t task, unsigned worker)
{
    const rows_of *r = arg;
    const sl_looks *looks = r->looks;
    size_t every = r->measured_end - r->measured;
    size_t row = task / every, i = r->measured + task % every;
    const sl_image *fine = r->finest->before;
    size_t last = cell_end(row, fine->height);
    float *line = r->buffer + worker * r->per_worker, *out = line + 2 * fine->width * r->colours;
    double *sums = r->sums + worker * looks->columns;
    memset(sums, 0, looks->columns * sizeof(*sums));
    for (size_t y = row * CELL; y < last; y++) {
        look_row(r, i, (uint32_t)y, line, out);
        for (size_t c = 0; c < looks->columns; c++)
            sums[c] += (double)square_sum(out + c * CELL * r->colours,
                                          (cell_end(c, fine->width) - c * CELL) * r->colours);
    }
    for (size_t c = 0; c < looks->columns; c++) {
        size_t pixels = (cell_end(c, fine->width) - c * CELL) * (last - row * CELL);
        looks->energy[i][row * looks->columns + c] = (float)(sums[c] / (double)pixels);
    }
}

static double mean_of(const float *cells, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)cells[i];
    return sum / (double)count;
}

// The energies of looks from `first` to before `end`.
static sl_status measure(sl_looks *looks, size_t first, size_t end)
{
    double start = sl_trace_start(looks->ctx);
    const sl_image *fine = looks->look[looks->count - 1].before;
    rows_of r = { 0 };
    looks->columns = (fine->width - 1) / CELL + 1;
    looks->rows = (fine->height - 1) / CELL + 1;
    size_t cells = (size_t)looks->columns * looks->rows;
    sl_status st = SL_OK;
    for (size_t i = first; i < end && st == SL_OK; i++) {
        free(looks->energy[i]);
        looks->energy[i] = sl_alloc(looks->ctx, cells, sizeof(float));
        st = looks->energy[i] ? SL_OK : SL_ERR_NOMEM;
    }
    if (st == SL_OK)
        st = rows_new(looks, &r);
    r.measured = first;
    r.measured_end = end;
    if (st == SL_OK)
        sl_pool_run(looks->ctx->pool, measure_cells, &r, looks->rows * (end - first));
    for (size_t i = first; i < end && st == SL_OK; i++)
        looks->mean[i] = mean_of(looks->energy[i], cells);
    rows_free(&r);
    sl_trace_end(looks->ctx, "measure", start);
    return st;
}

sl_status sl_looks_measure(sl_looks *looks)
{
    return measure(looks, looks->count - 2, looks->count);
}

bool sl_looks_are_enough(const sl_looks *looks)
{
    if (looks->count < 2)
        return false;
    double before = looks->mean[looks->count - 2], last = looks->mean[looks->count - 1];
    return last < before && last > FADED * before;
}

// ---- joined

// Binomial weights over five cells along one axis; the outermost cells go on for ever.
static void smooth(const float *from, size_t count, size_t step, float *to)
{
    static const float share[5] = { 0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f };
    for (size_t i = 0; i < count; i++) {
        float sum = 0;
        for (size_t k = 0; k < 5; k++) {
            size_t at = i + k < 2 ? 0 : i + k - 2;
            sum += share[k] * from[(at < count ? at : count - 1) * step];
        }
        to[i * step] = sum;
    }
}

static void smooth_cells(const sl_looks *looks, const float *cells, float *between, float *out)
{
    for (size_t y = 0; y < looks->rows; y++)
        smooth(cells + y * looks->columns, looks->columns, 1, between + y * looks->columns);
    for (size_t x = 0; x < looks->columns; x++)
        smooth(between + x, looks->rows, looks->columns, out + x);
}

static sl_status weigh(rows_of *r)
{
    const sl_looks *looks = r->looks;
    size_t cells = (size_t)looks->columns * looks->rows;
    float *between = sl_alloc(looks->ctx, cells, sizeof(float));
    bool ok = between;
    for (size_t i = 0; ok && i < looks->count; i++) {
        r->weight[i] = sl_alloc(looks->ctx, cells, sizeof(float));
        ok = r->weight[i];
        if (ok)
            smooth_cells(looks, looks->energy[i], between, r->weight[i]);
    }
    for (size_t c = 0; ok && c < cells; c++) {
        float sum = 0;
        for (size_t i = 0; i < looks->count; i++) {
            float energy = r->weight[i][c] + CALM * (float)looks->mean[i];
            r->weight[i][c] = energy * energy;
            sum += r->weight[i][c];
        }
        for (size_t i = 0; i < looks->count; i++)
            r->weight[i][c] = sum > 0 ? r->weight[i][c] / sum : 1.0f / (float)looks->count;
    }
    free(between);
    return ok ? SL_OK : SL_ERR_NOMEM;
}

// Every row reads the changes of all looks in it before it is written: that of the finest is there.
static void join_row(void *arg, size_t row, unsigned worker)
{
    const rows_of *r = arg;
    const sl_image *fine = r->finest->before;
    size_t width = fine->width, samples = width * r->colours;
    uint32_t y = (uint32_t)row;
    float *line = r->buffer + worker * r->per_worker, *one = line + 2 * samples;
    float *sum = one + samples, *weight = sum + samples;
    memset(sum, 0, samples * sizeof(*sum));
    for (size_t i = 0; i < r->looks->count; i++) {
        sl_enlarge_map_row(&r->cells, r->weight[i], y, line, weight);
        look_row(r, i, y, line, one);
        for (size_t x = 0; x < width; x++)
            for (size_t k = 0; k < r->colours; k++)
                sum[x * r->colours + k] += weight[x] * one[x * r->colours + k];
    }
    sl_move_row(fine, y, sum, r->finest->after);
    if (!r->heat)
        return;
    float *heat = r->heat + row * width;
    for (size_t i = 0; i < r->looks->count; i++) {
        sl_enlarge_map_row(&r->cells, r->weight[i], y, line, weight);
        sl_enlarge_map_row(&r->enlarger[i], r->looks->look[i].heat, y, line, one);
        for (size_t x = 0; x < width; x++)
            heat[x] += weight[x] * one[x];
    }
}

sl_status sl_looks_join(sl_looks *looks)
{
    sl_look *finest = &looks->look[looks->count - 1];
    double start = sl_trace_start(looks->ctx);
    rows_of r = { 0 };
    sl_status st = looks->count > 2 ? measure(looks, 0, looks->count - 2) : SL_OK;
    if (st == SL_OK)
        st = rows_new(looks, &r);
    if (st == SL_OK)
        st = weigh(&r);
    if (st == SL_OK && finest->heat) {
        r.heat =
            sl_alloc(looks->ctx, finest->before->height, finest->before->width * sizeof(float));
        st = r.heat ? SL_OK : SL_ERR_NOMEM;
    }
    if (st == SL_OK)
        sl_pool_run(looks->ctx->pool, join_row, &r, finest->before->height);
    if (st == SL_OK && r.heat) {
        free(finest->heat);
        finest->heat = r.heat;
    }
    rows_free(&r);
    sl_trace_end(looks->ctx, "join", start);
    return st;
}

void sl_looks_free(sl_looks *looks)
{
    for (size_t i = 0; i < SL_LOOKS_MOST; i++)
        free(looks->energy[i]);
    *looks = (sl_looks) { 0 };
}
