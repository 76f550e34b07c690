// SPDX-License-Identifier: MIT
// pipeline/tile.c: where tiles lie along an axis, and how they share the pixels between them.
#include "pipeline/tile.h"

#include <assert.h>

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

void sl_tile_axis_new(uint32_t length, uint32_t canvas, uint32_t multiple, uint32_t limit,
                      uint32_t overlap, sl_tile_axis *out)
{
    *out = (sl_tile_axis) {
        .multiple = multiple, .length = length, .canvas = canvas, .tile = canvas, .count = 1
    };
    if (canvas <= limit)
        return;
    assert(overlap < limit);
    uint32_t units = canvas / multiple, most = limit / multiple, shared = overlap / multiple;
    out->count = ceil_div(units - shared, most - shared);
    out->tile = ceil_div(units + (out->count - 1) * shared, out->count) * multiple;
}

uint32_t sl_tile_origin(const sl_tile_axis *axis, uint32_t index)
{
    if (axis->count == 1)
        return 0;
    uint64_t last = (axis->canvas - axis->tile) / axis->multiple;
    return (uint32_t)(last * index / (axis->count - 1)) * axis->multiple;
}

// How far, at pixel x of the canvas, the picture has passed from tile index - 1 to tile `index`.
static float passed(const sl_tile_axis *axis, uint32_t index, uint32_t x)
{
    if (index == 0)
        return 1.0f;
    if (index == axis->count)
        return 0.0f;
    uint32_t start = sl_tile_origin(axis, index);
    uint32_t end = sl_tile_origin(axis, index - 1) + axis->tile;
    // The ends of the overlap feel the tile's border most: they are never shown.
    float length = (float)(end - start), share = ((float)x + 0.5f - (float)start) / length;
    share = (share - 0.375f) * 4.0f;
    return share < 0.0f ? 0.0f : share > 1.0f ? 1.0f : share;
}

void sl_tile_weights(const sl_tile_axis *axis, uint32_t index, float *weights)
{
    uint32_t origin = sl_tile_origin(axis, index);
    for (uint32_t i = 0; i < axis->tile; i++)
        weights[i] = passed(axis, index, origin + i) - passed(axis, index + 1, origin + i);
}
