// SPDX-License-Identifier: MIT
// pipeline/composite.c: samples to floats and back, and the seams between tiles.
#include "pipeline/composite.h"

#include "pipeline/between.h"

#define TASK_ROWS 16

static size_t band_rows(const sl_composite *c)
{
    return c->y.tile < c->y.length ? c->y.tile : c->y.length;
}

// Floats of a tile, written whole by all threads before they are read: one thread need not touch
// them all first.
static float *tile_floats(sl_ctx *ctx, const sl_tile_axis *x, const sl_tile_axis *y)
{
    size_t bytes = 0;
    float *data = NULL;
    if (sl_mul((size_t)x->tile * 3 * sizeof(float), y->tile, &bytes)) // a row: at most 12 * 2^20
        data = malloc(bytes);
    if (!data)
        sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a tile of %u x %u pixels; allow smaller ones",
                x->tile, y->tile);
    return data;
}

sl_status sl_composite_new(sl_ctx *ctx, const sl_image *image, const sl_tile_axis *x,
                           const sl_tile_axis *y, unsigned views, bool heat, sl_image *out,
                           sl_composite *c)
{
    *c =
        (sl_composite) { .ctx = ctx, .image = image, .out = out, .x = *x, .y = *y, .views = views };
    size_t width = image->width;
    c->input = c->inputs[0] = tile_floats(ctx, x, y);
    c->result = tile_floats(ctx, x, y);
    c->change = sl_alloc(ctx, band_rows(c), width * 3 * sizeof(float));
    c->weights_x = sl_alloc(ctx, x->tile, sizeof(float));
    c->weights_y = sl_alloc(ctx, y->tile, sizeof(float));
    c->columns = sl_alloc(ctx, x->tile, sizeof(*c->columns));
    if (heat)
        c->heat = sl_alloc(ctx, image->height, width * sizeof(float));
    if (!c->input || !c->result || !c->change || !c->weights_x || !c->weights_y || !c->columns ||
        (heat && !c->heat)) {
        sl_composite_free(c);
        return SL_ERR_NOMEM;
    }
    for (unsigned i = 0; i < 256; i++) {
        c->unit[i] = (float)i / 255.0f;
        c->share[i] = sl_ramp_share((uint8_t)i);
    }
    return SL_OK;
}

void sl_composite_free(sl_composite *c)
{
    free(c->inputs[0]);
    free(c->inputs[1]);
    free(c->result);
    free(c->change);
    free(c->heat);
    free(c->weights_x);
    free(c->weights_y);
    free(c->columns);
    *c = (sl_composite) { 0 };
}

sl_status sl_composite_overlap(sl_composite *c)
{
    if (!c->inputs[1])
        c->inputs[1] = tile_floats(c->ctx, &c->x, &c->y);
    return c->inputs[1] ? SL_OK : SL_ERR_NOMEM;
}

size_t sl_composite_steps(const sl_composite *c)
{
    return (size_t)c->x.count * c->y.count * c->views;
}

// Makes its tile the current one.
static void place(sl_composite *c, size_t step)
{
    size_t tile = step / c->views, view = step % c->views;
    uint32_t row = (uint32_t)(tile / c->x.count), column = (uint32_t)(tile % c->x.count);
    c->input = c->inputs[c->inputs[1] ? step % 2 : 0];
    c->is_mirrored = view & 1;
    c->is_upside_down = view & 2;
    c->left = sl_tile_origin(&c->x, column);
    c->top = sl_tile_origin(&c->y, row);
    sl_tile_weights(&c->x, column, c->weights_x);
    sl_tile_weights(&c->y, row, c->weights_y);
}

// Where a view shows what lies at `i` of its tile, and the other way round.
static size_t turned(size_t i, bool is_turned, uint32_t side)
{
    return is_turned ? side - 1 - i : i;
}

static size_t task_count(size_t rows)
{
    return (rows + TASK_ROWS - 1) / TASK_ROWS;
}

static size_t task_end(size_t task, size_t rows)
{
    size_t end = (task + 1) * TASK_ROWS;
    return end < rows ? end : rows;
}

// ---- begin: samples to floats

static void fill_row(const sl_composite *c, const sl_image *image, uint32_t y, float *to)
{
    const uint8_t *bytes = image->pixels + (size_t)y * image->row_bytes;
    const uint16_t *words = (const uint16_t *)(const void *)bytes;
    size_t step = image->channels, green = step >= 3, blue = step >= 3 ? 2 : 0;
    for (size_t i = 0; i < c->x.tile; i++, to += 3) {
        size_t at = c->columns[i] * step;
        if (image->depth == 16) {
            to[0] = (float)words[at] / 65535.0f;
            to[1] = (float)words[at + green] / 65535.0f;
            to[2] = (float)words[at + blue] / 65535.0f;
        } else {
            to[0] = c->unit[bytes[at]];
            to[1] = c->unit[bytes[at + green]];
            to[2] = c->unit[bytes[at + blue]];
        }
    }
}

static void fill_task(void *arg, size_t task, unsigned worker)
{
    const sl_composite *c = arg;
    (void)worker;
    for (size_t i = task * TASK_ROWS; i < task_end(task, c->y.tile); i++) {
        size_t y = c->top + turned(i, c->is_upside_down, c->y.tile);
        fill_row(c, c->image, sl_reflect(y, c->y.length), c->input + i * c->x.tile * 3);
    }
}

void sl_composite_begin(sl_composite *c, size_t step)
{
    place(c, step);
    for (size_t i = 0; i < c->x.tile; i++)
        c->columns[i] = sl_reflect(c->left + turned(i, c->is_mirrored, c->x.tile), c->x.length);
    sl_pool_run(c->ctx->pool, fill_task, c, task_count(c->y.tile));
}

// ---- end: a tile's share of the change

// Pixels of the current tile that belong to the picture.
static size_t shown(const sl_tile_axis *axis, uint32_t origin)
{
    if (origin >= axis->length)
        return 0;
    return axis->length - origin < axis->tile ? axis->length - origin : axis->tile;
}

static void blend_row(const sl_composite *c, size_t i, float weight)
{
    size_t row = turned(i, c->is_upside_down, c->y.tile) * c->x.tile, width = c->x.length;
    const float *before = c->input + row * 3, *after = c->result + row * 3;
    const uint8_t *ramp = c->coverage->ramp + row;
    float *change = c->change + (i * width + c->left) * 3;
    for (size_t x = 0; x < shown(&c->x, c->left); x++) {
        size_t from = turned(x, c->is_mirrored, c->x.tile);
        float share = weight * c->weights_x[x] * c->share[ramp[from]];
        if (share == 0.0f)
            continue;
        for (size_t k = 0; k < 3; k++)
            change[3 * x + k] += share * (after[3 * from + k] - before[3 * from + k]);
    }
}

static void heat_row(const sl_composite *c, size_t i, float weight)
{
    const sl_coverage *v = c->coverage;
    sl_between rows = sl_between_cells(turned(i, c->is_upside_down, c->y.tile), v->cell, v->rows);
    const float *upper = v->heat + rows.first * v->columns;
    const float *under = v->heat + rows.second * v->columns;
    float *heat = c->heat + (c->top + i) * c->x.length + c->left;
    for (size_t x = 0; x < shown(&c->x, c->left); x++) {
        sl_between b = sl_between_cells(turned(x, c->is_mirrored, c->x.tile), v->cell, v->columns);
        float first = sl_mix(upper[b.first], under[b.first], rows.share);
        float second = sl_mix(upper[b.second], under[b.second], rows.share);
        heat[x] += weight * c->weights_x[x] * sl_mix(first, second, b.share);
    }
}

static void blend_task(void *arg, size_t task, unsigned worker)
{
    const sl_composite *c = arg;
    (void)worker;
    for (size_t i = task * TASK_ROWS; i < task_end(task, shown(&c->y, c->top)); i++) {
        float weight = c->weights_y[i] / (float)c->views;
        if (weight == 0.0f)
            continue;
        if (!c->coverage->is_empty)
            blend_row(c, i, weight);
        if (c->heat && c->coverage->heat)
            heat_row(c, i, weight);
    }
}

// ---- the end of a row: changes to samples

static void emit_row(const sl_composite *c, uint32_t y, const float *change)
{
    const sl_image *image = c->image;
    void *row = sl_image_row(c->out, y);
    size_t step = image->channels, colours = step >= 3 ? 3 : 1;
    memcpy(row, sl_image_row_const(image, y), image->row_bytes);
    for (size_t x = 0; x < image->width; x++, change += 3) {
        if (change[0] == 0.0f && change[1] == 0.0f && change[2] == 0.0f)
            continue;
        float grey = (change[0] + change[1] + change[2]) / 3.0f;
        for (size_t k = 0; k < colours; k++)
            sl_sample_move(row, image->depth, x * step + k, colours == 1 ? grey : change[k]);
    }
}

static void emit_task(void *arg, size_t task, unsigned worker)
{
    const sl_composite *c = arg;
    (void)worker;
    size_t rows = c->row_end - c->first_row;
    for (size_t i = task * TASK_ROWS; i < task_end(task, rows); i++)
        emit_row(c, c->first_row + (uint32_t)i, c->change + i * c->x.length * 3);
}

static void end_row(sl_composite *c, uint32_t row)
{
    // The next row of tiles still adds to the rows from its origin on.
    uint32_t end = row + 1 < c->y.count ? sl_tile_origin(&c->y, row + 1) : c->y.length;
    size_t line = (size_t)c->x.length * 3;
    c->first_row = c->top;
    c->row_end = end < c->y.length ? end : c->y.length;
    size_t done = c->row_end - c->first_row, rest = band_rows(c) - done;
    sl_pool_run(c->ctx->pool, emit_task, c, task_count(done));
    memmove(c->change, c->change + done * line, rest * line * sizeof(float));
    memset(c->change + rest * line, 0, done * line * sizeof(float));
}

void sl_composite_end(sl_composite *c, size_t step, const sl_coverage *coverage)
{
    place(c, step);
    c->coverage = coverage;
    sl_pool_run(c->ctx->pool, blend_task, c, task_count(shown(&c->y, c->top)));
    c->coverage = NULL;
    size_t in_row = (size_t)c->x.count * c->views;
    if ((step + 1) % in_row == 0)
        end_row(c, (uint32_t)(step / in_row));
}
