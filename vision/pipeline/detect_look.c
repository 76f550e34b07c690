// SPDX-License-Identifier: MIT
// pipeline/detect_look.c: the candidates of a picture: the whole, its tiles and their mirror images
// through the network, boxes back into the picture's own pixels.
#include "pipeline/detect.h"

#define EDGE 2.0f // pixels of the resized region: how near to a cut a box counts as cut off

// A region of the picture as the network sees it.
typedef struct view {
    sl_rectangle from;
    uint32_t width, height; // resized
    uint32_t padded[2];     // width, height
    bool mirrored, is_a_tile;
} view;

static sl_status reserve(sl_detect *d, size_t more)
{
    size_t needed;
    if (!sl_add(d->count, more, &needed))
        return sl_fail(d->ctx, SL_ERR_NOMEM, "out of memory for the candidates");
    if (needed <= d->capacity)
        return SL_OK;
    size_t capacity = d->capacity ? d->capacity : 1024;
    while (capacity < needed && capacity <= SIZE_MAX / 2)
        capacity *= 2;
    sl_scored *grown = sl_alloc(d->ctx, capacity, sizeof(*grown));
    if (!grown)
        return SL_ERR_NOMEM;
    if (d->count)
        memcpy(grown, d->boxes, d->count * sizeof(*grown));
    free(d->boxes);
    d->boxes = grown;
    d->capacity = capacity;
    return SL_OK;
}

static uint32_t resized(uint32_t side, double factor)
{
    double scaled = (double)side * factor + 0.5;
    return scaled < 1 ? 1 : scaled > SL_FIT_LARGEST ? SL_FIT_LARGEST : (uint32_t)scaled;
}

static sl_status frame(const sl_detect *d, const sl_rectangle *from, view *v)
{
    uint32_t longer = from->width > from->height ? from->width : from->height;
    uint32_t shorter = from->width < from->height ? from->width : from->height;
    double a = (double)d->options.long_side / longer, b = (double)d->options.short_side / shorter;
    *v = (view) { .from = *from };
    v->width = resized(from->width, a < b ? a : b);
    v->height = resized(from->height, a < b ? a : b);
    sl_status st = sl_retina_side(d->ctx, v->width, &v->padded[0]);
    return st == SL_OK ? sl_retina_side(d->ctx, v->height, &v->padded[1]) : st;
}

static sl_status make_room(sl_detect *d, const view *v)
{
    size_t pixels = (size_t)v->padded[0] * v->padded[1];
    if (pixels <= d->room)
        return SL_OK;
    free(d->rgb);
    free(d->pixels);
    d->room = 0;
    d->rgb = sl_alloc(d->ctx, pixels, 3);
    d->pixels = sl_alloc(d->ctx, pixels, 3 * sizeof(float));
    if (!d->rgb || !d->pixels)
        return SL_ERR_NOMEM;
    d->room = pixels;
    return SL_OK;
}

// Normalised, and zeros to the right and below.
static void normalise(const sl_detect *d, const view *v)
{
    for (uint32_t y = 0; y < v->padded[1]; y++) {
        float *to = d->pixels + (size_t)y * v->padded[0] * 3;
        uint32_t width = y < v->height ? v->width : 0;
        const uint8_t *from = d->rgb + (size_t)y * v->width * 3;
        for (uint32_t x = 0; x < width; x++) {
            uint32_t source = v->mirrored ? width - 1 - x : x;
            for (unsigned c = 0; c < 3; c++)
                to[(size_t)x * 3 + c] = d->levels[c][from[(size_t)source * 3 + c]];
        }
        memset(to + (size_t)width * 3, 0, (size_t)(v->padded[0] - width) * 3 * sizeof(float));
    }
}

// ---- the network

static sl_status keep_level(sl_detect *d, const view *v, const sl_image *image,
                            const sl_detect_plan *p, unsigned level)
{
    int32_t counts[4];
    sl_status st = sl_plan_read(p->network.plan, p->counts[level], counts);
    if (st != SL_OK)
        return st;
    if (counts[1] > 0)
        return sl_fail(
            d->ctx, SL_ERR_FORMAT,
            "%s: %d outputs of level P%u (cls_P%u, reg_P%u) are not numbers; the weights "
            "do not fit this picture or are damaged",
            sl_tensor_set_path(d->model->set), counts[1], level + 3, level + 3, level + 3);
    size_t count = counts[0] < 0 ? 0 : (size_t)counts[0];
    if (count > SL_DETECT_LIMIT)
        count = SL_DETECT_LIMIT;
    st = count ? sl_plan_read(p->network.plan, p->rows[level], d->rows) : SL_OK;
    if (st == SL_OK)
        st = reserve(d, count);
    float sx = (float)v->width / (float)v->from.width;
    float sy = (float)v->height / (float)v->from.height;
    for (size_t i = 0; i < count && st == SL_OK; i++) {
        const float *row = d->rows + i * 6;
        sl_box b = { row[0], row[1], row[2], row[3] };
        uint32_t label = (uint32_t)row[5];
        if (label >= d->label_count || !d->is_wanted[label])
            continue;
        if (v->mirrored) {
            float x1 = b.x1;
            b.x1 = (float)v->width - b.x2;
            b.x2 = (float)v->width - x1;
        }
        // What a tile cuts off is seen whole in its neighbour, or in the whole picture.
        if (v->is_a_tile &&
            ((v->from.x > 0 && b.x1 < EDGE) || (v->from.y > 0 && b.y1 < EDGE) ||
             (v->from.x + v->from.width < image->width && b.x2 > (float)v->width - EDGE) ||
             (v->from.y + v->from.height < image->height && b.y2 > (float)v->height - EDGE)))
            continue;
        const sl_box own = { b.x1 / sx + (float)v->from.x, b.y1 / sy + (float)v->from.y,
                             b.x2 / sx + (float)v->from.x, b.y2 / sy + (float)v->from.y };
        if (own.x2 > own.x1 && own.y2 > own.y1) // not beside the picture, in what was added to it
            d->boxes[d->count++] = (sl_scored) { own, row[4], label };
    }
    return st;
}

static sl_status run(sl_detect *d, const view *v, const sl_image *image)
{
    sl_detect_plan *p;
    const float extent[2] = { (float)v->width, (float)v->height };
    size_t before = d->count;
    sl_status st = sl_detect_plan_for(d, v->padded[0], v->padded[1], &p);
    if (st == SL_OK)
        st = sl_plan_write(p->network.plan, p->network.image, d->pixels);
    if (st == SL_OK)
        st = sl_plan_write(p->network.plan, p->extent, extent);
    if (st == SL_OK)
        st = sl_plan_run(p->network.plan);
    for (unsigned level = 0; level < SL_RETINA_LEVELS && st == SL_OK; level++)
        st = keep_level(d, v, image, p, level);
    d->last = st == SL_OK ? p : NULL; // a plan that failed may be none
    if (st != SL_OK)
        d->count = before;
    return st;
}

// On the processor, which stays, where the device fails or is full.
static sl_status run_somewhere(sl_detect *d, const view *v, const sl_image *image)
{
    sl_status st = run(d, v, image);
    if (!sl_device_may_fall_back(d->device, st))
        return st;
    sl_detect_drop_plans(d);
    st = sl_device_fall_back(d->device, st);
    return st == SL_OK ? run(d, v, image) : st;
}

// ---- regions

static sl_status look_at(sl_detect *d, const sl_image *image, const sl_rectangle *from,
                         bool is_a_tile)
{
    view v;
    sl_status st = frame(d, from, &v);
    v.is_a_tile = is_a_tile;
    if (st == SL_OK)
        st = make_room(d, &v);
    if (st == SL_OK)
        st = sl_image_fit(d->ctx, image, from, v.width, v.height, d->is_averaged, d->rgb);
    for (int mirrored = 0; mirrored <= (int)d->options.flip && st == SL_OK; mirrored++) {
        v.mirrored = mirrored;
        normalise(d, &v);
        st = run_somewhere(d, &v, image);
    }
    return st;
}

// Tiles along a side, evenly spread, that overlap by a fifth or more.
static uint32_t tiles_along(uint32_t length, uint32_t tile)
{
    uint32_t step = tile - tile / 5;
    return length <= tile ? 1 : (length - tile + step - 1) / step + 1;
}

static uint32_t tile_at(uint32_t length, uint32_t tile, uint32_t i, uint32_t count)
{
    return count == 1 ? 0 : (uint32_t)((uint64_t)(length - tile) * i / (count - 1));
}

static sl_status tell(const sl_detect *d, size_t tiles, size_t total)
{
    return d->total ? sl_progress(d->ctx, d->done, d->total) : sl_progress(d->ctx, tiles, total);
}

static sl_status look_at_tiles(sl_detect *d, const sl_image *image)
{
    uint32_t tile = d->options.tile;
    uint32_t columns = tiles_along(image->width, tile), rows = tiles_along(image->height, tile);
    sl_status st = SL_OK;
    size_t total = (size_t)columns * rows;
    if (total == 1) // the whole picture has been looked at
        return SL_OK;
    for (size_t i = 0; i < total && st == SL_OK; i++) {
        sl_rectangle from = { .x = tile_at(image->width, tile, (uint32_t)(i % columns), columns),
                              .y = tile_at(image->height, tile, (uint32_t)(i / columns), rows) };
        from.width = image->width < tile ? image->width : tile;
        from.height = image->height < tile ? image->height : tile;
        st = tell(d, i, total);
        if (st == SL_OK)
            st = look_at(d, image, &from, true);
    }
    return st == SL_OK ? tell(d, total, total) : st;
}

sl_status sl_detect_look(sl_detect *d, const sl_image *image)
{
    const sl_rectangle whole = { 0, 0, image->width, image->height };
    d->count = 0;
    sl_status st = look_at(d, image, &whole, false);
    if (st == SL_OK && d->options.tile)
        st = look_at_tiles(d, image);
    return st;
}
