// SPDX-License-Identifier: MIT
// pipeline/shape.c: the largest tile that a memory budget allows.
#include "pipeline/shape.h"

typedef struct search {
    sl_ctx *ctx;
    const sl_shape_request *request;
    uint32_t multiple;
    uint32_t canvas_width, canvas_height;
} search;

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Bytes of a square tile of `units` multiples, cut to the picture's canvas.
static sl_status measure(const search *s, uint32_t units, size_t *bytes)
{
    sl_lmd_build build = s->request->build;
    uint32_t side = units * s->multiple;
    build.width = smaller(side, s->canvas_width);
    build.height = smaller(side, s->canvas_height);
    return sl_network_memory(s->ctx, s->request->model, s->request->device, &build, bytes);
}

// The most units, up to `most`, that fit; at least 1 is known to.
static sl_status grow(const search *s, uint32_t most, uint32_t *out)
{
    uint32_t good = 1;
    for (uint32_t bad = most + 1, next = most; bad - good > 1; next = good + (bad - good) / 2) {
        size_t bytes;
        sl_status st = measure(s, next, &bytes);
        if (st == SL_ERR_LIMIT || st == SL_ERR_FORMAT)
            bytes = SIZE_MAX; // beyond what a graph can count
        else if (st != SL_OK)
            return st;
        if (bytes <= s->request->budget_bytes)
            good = next;
        else
            bad = next;
    }
    *out = good;
    return SL_OK;
}

static sl_status refuse(const search *s, uint32_t units, size_t bytes)
{
    uint32_t side = units * s->multiple;
    return sl_fail(s->ctx, SL_ERR_LIMIT,
                   "a memory budget of %.1f MiB is too small: the smallest tile for this picture, "
                   "%u x %u pixels, takes %.1f MiB; allow that much",
                   (double)s->request->budget_bytes / 1048576.0, smaller(side, s->canvas_width),
                   smaller(side, s->canvas_height), (double)bytes / 1048576.0);
}

static uint32_t units_for(uint32_t pixels, uint32_t multiple)
{
    return pixels / multiple + (pixels % multiple != 0);
}

sl_status sl_shape_choose(sl_ctx *ctx, const sl_shape_request *request, sl_tile_axis *x,
                          sl_tile_axis *y)
{
    const sl_lmd_config *config = &request->model->lmd;
    search s = { .ctx = ctx, .request = request, .multiple = sl_lmd_multiple(config) };
    sl_status st = sl_canvas_side(ctx, config, request->width, &s.canvas_width);
    if (st == SL_OK)
        st = sl_canvas_side(ctx, config, request->height, &s.canvas_height);
    if (st != SL_OK)
        return st;

    uint32_t longer = s.canvas_width > s.canvas_height ? s.canvas_width : s.canvas_height;
    uint32_t whole = longer / s.multiple;
    // Two tiles must overlap: less than two units cannot make progress along a side.
    uint32_t least = smaller(2, whole), most = whole, units;
    if (request->tile)
        most = smaller(whole, units_for(request->tile, s.multiple));
    if (request->largest)
        most = smaller(most, request->largest / s.multiple);
    most = most < least ? least : most;
    size_t bytes;
    st = measure(&s, least, &bytes);
    if (st != SL_OK)
        return st;
    if (bytes > request->budget_bytes)
        return refuse(&s, least, bytes);
    st = grow(&s, most, &units);
    if (st != SL_OK)
        return st;
    if (request->tile && units < most)
        sl_log(ctx, SL_LOG_WARNING,
               "tiles of %u pixels do not fit the memory budget; using %u instead", request->tile,
               units * s.multiple);

    uint32_t shared = smaller(units_for(SL_TILE_OVERLAP, s.multiple), units / 2);
    sl_tile_axis_new(request->width, s.canvas_width, s.multiple, units * s.multiple,
                     shared * s.multiple, x);
    sl_tile_axis_new(request->height, s.canvas_height, s.multiple, units * s.multiple,
                     shared * s.multiple, y);
    return SL_OK;
}
