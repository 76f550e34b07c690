// SPDX-License-Identifier: MIT
// pipeline/coverage.c: from the keep maps and scores of all layers to pixels.
#include "pipeline/coverage.h"

#include <math.h>

#define BAND_ROWS 64                               // of the ramp that a task makes
#define BAND_MOST (BAND_ROWS + 2 * SL_RAMP_PIXELS) // and looks at

static uint32_t cell_side(const sl_lmd_config *config)
{
    uint32_t a = config->window, b = config->window / 2;
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a * config->unshuffle;
}

sl_status sl_coverage_new(const sl_network *n, bool heat, sl_coverage *out)
{
    sl_ctx *ctx = n->graph->ctx;
    uint32_t cell = cell_side(&n->config);
    *out = (sl_coverage) { .cell = cell,
                           .rows = n->height / cell,
                           .columns = n->width / cell,
                           .height = n->height,
                           .width = n->width,
                           .pool = ctx->pool };
    size_t cells = (size_t)out->rows * out->columns, windows = sl_network_max_windows(n);
    out->computed = sl_alloc(ctx, cells, 1);
    out->ramp = sl_alloc(ctx, (size_t)n->height * n->width, 1);
    out->keep = sl_alloc(ctx, windows, 1);
    out->bands = sl_alloc(ctx, sl_pool_size(ctx->pool), (size_t)BAND_MOST * n->width);
    bool whole = out->computed && out->ramp && out->keep && out->bands;
    if (heat) {
        out->heat = sl_alloc(ctx, cells, sizeof(float));
        out->scores = sl_alloc(ctx, windows, 2 * sizeof(float));
        whole = whole && out->heat && out->scores;
    }
    if (whole)
        return SL_OK;
    sl_coverage_free(out);
    return SL_ERR_NOMEM;
}

void sl_coverage_free(sl_coverage *c)
{
    free(c->computed);
    free(c->heat);
    free(c->ramp);
    free(c->keep);
    free(c->scores);
    free(c->bands);
    *c = (sl_coverage) { 0 };
}

// The cells of one window: `side` x `side` of them from (row, column), folded round the canvas.
static void add_window(sl_coverage *c, size_t row, size_t column, size_t side, float heat)
{
    for (size_t y = row; y < row + side; y++)
        for (size_t x = column; x < column + side; x++)
            c->heat[y % c->rows * c->columns + x % c->columns] += heat;
}

static void mark_window(sl_coverage *c, size_t row, size_t column, size_t side)
{
    for (size_t y = row; y < row + side; y++)
        for (size_t x = column; x < column + side; x++)
            c->computed[y % c->rows * c->columns + x % c->columns] = 1;
}

static sl_status read_keep(sl_coverage *c, const sl_network *n, const sl_block_map *map,
                           sl_window_count *count)
{
    sl_status st = sl_network_keep(n, map, c->keep);
    if (st != SL_OK)
        return st;
    size_t side = map->side / c->cell, shift = map->shift / c->cell, kept = 0;
    for (size_t i = 0; i < map->rows; i++)
        for (size_t j = 0; j < map->columns; j++)
            if (c->keep[i * map->columns + j]) {
                mark_window(c, i * side + shift, j * side + shift, side);
                kept++;
            }
    count->computed += (double)kept * map->blocks;
    count->all += (double)map->rows * map->columns * map->blocks;
    return SL_OK;
}

static sl_status read_scores(sl_coverage *c, const sl_network *n, const sl_block_map *map)
{
    sl_status st = sl_plan_read(n->plan, map->scores, c->scores);
    if (st != SL_OK)
        return st;
    size_t side = map->side / c->cell, shift = map->shift / c->cell;
    for (size_t i = 0; i < map->rows; i++)
        for (size_t j = 0; j < map->columns; j++) {
            const float *z = c->scores + 2 * (i * map->columns + j);
            add_window(c, i * side + shift, j * side + shift, side,
                       1.0f / (1.0f + expf(z[1] - z[0])));
        }
    return SL_OK;
}

static uint8_t lower(uint8_t value, uint8_t neighbour, uint8_t step)
{
    uint8_t far = (uint8_t)(neighbour + step); // at most SL_RAMP_MAX + 4
    return value < far ? value : far;
}

// Distance from the nearest pixel of value 0, by the 3-4 chamfer: a step aside counts 3, a
// diagonal one 4. Beyond the canvas there is nothing to keep away from.
static void spread_down(uint8_t *row, const uint8_t *above, size_t width)
{
    for (size_t x = 0; x < width; x++) {
        uint8_t d = row[x];
        if (x > 0)
            d = lower(d, row[x - 1], 3);
        if (above) {
            d = lower(d, above[x], 3);
            if (x > 0)
                d = lower(d, above[x - 1], 4);
            if (x + 1 < width)
                d = lower(d, above[x + 1], 4);
        }
        row[x] = d;
    }
}

static void spread_up(uint8_t *row, const uint8_t *below, size_t width)
{
    for (size_t x = width; x-- > 0;) {
        uint8_t d = row[x];
        if (x + 1 < width)
            d = lower(d, row[x + 1], 3);
        if (below) {
            d = lower(d, below[x], 3);
            if (x + 1 < width)
                d = lower(d, below[x + 1], 4);
            if (x > 0)
                d = lower(d, below[x - 1], 4);
        }
        row[x] = d;
    }
}

static void fill_row(const sl_coverage *c, size_t y, uint8_t *row)
{
    const uint8_t *cells = c->computed + y / c->cell * c->columns;
    for (size_t i = 0; i < c->columns; i++)
        memset(row + i * c->cell, cells[i] ? SL_RAMP_MAX : 0, c->cell);
}

// What is farther away than SL_RAMP_PIXELS changes nothing, so that a band with as many rows on
// either side comes out as of the whole canvas.
static void make_band(void *arg, size_t task, unsigned worker)
{
    const sl_coverage *c = arg;
    size_t width = c->width, first = task * BAND_ROWS, end = first + BAND_ROWS;
    end = end < c->height ? end : c->height;
    size_t from = first < SL_RAMP_PIXELS ? 0 : first - SL_RAMP_PIXELS;
    size_t rows = (end + SL_RAMP_PIXELS < c->height ? end + SL_RAMP_PIXELS : c->height) - from;
    uint8_t *band = c->bands + worker * BAND_MOST * width;
    for (size_t i = 0; i < rows; i++) {
        uint8_t *row = band + i * width;
        fill_row(c, from + i, row);
        spread_down(row, i ? row - width : NULL, width);
    }
    for (size_t i = rows; i-- > 0;)
        spread_up(band + i * width, i + 1 < rows ? band + (i + 1) * width : NULL, width);
    memcpy(c->ramp + first * width, band + (first - from) * width, (end - first) * width);
}

static void make_ramp(sl_coverage *c)
{
    if (c->is_full || c->is_empty)
        memset(c->ramp, c->is_full ? SL_RAMP_MAX : 0, (size_t)c->height * c->width);
    else
        sl_pool_run(c->pool, make_band, c, (c->height + BAND_ROWS - 1) / BAND_ROWS);
}

static void finish(sl_coverage *c, unsigned predictors)
{
    size_t cells = (size_t)c->rows * c->columns, computed = 0;
    for (size_t i = 0; i < cells; i++)
        computed += c->computed[i];
    c->is_empty = computed == 0;
    c->is_full = computed == cells;
    for (size_t i = 0; c->heat && i < cells; i++)
        c->heat[i] /= predictors ? (float)predictors : 1.0f;
    make_ramp(c);
}

sl_status sl_coverage_read(sl_coverage *c, const sl_network *n, sl_window_count *count)
{
    size_t cells = (size_t)c->rows * c->columns;
    unsigned predictors = 0;
    memset(c->computed, 0, cells);
    if (c->heat)
        memset(c->heat, 0, cells * sizeof(float));
    for (uint32_t layer = 0; layer < n->config.layers; layer++)
        for (uint32_t parity = 0; parity < 2; parity++) {
            const sl_block_map *map = &n->maps[layer][parity];
            if (map->blocks == 0)
                continue;
            sl_status st = read_keep(c, n, map, count);
            if (st == SL_OK && c->heat && map->scores != SL_NO_VALUE) {
                st = read_scores(c, n, map);
                predictors++;
            }
            if (st != SL_OK)
                return st;
        }
    finish(c, predictors);
    return SL_OK;
}
