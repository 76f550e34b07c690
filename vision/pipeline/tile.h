// SPDX-License-Identifier: MIT
// pipeline/tile.h: how one canvas shape covers a picture of any size.
//
// The picture lies at the top left of a canvas whose sides are multiples of the network's; what is
// missing to the right and below is the picture reflected. Tiles lie on that canvas at multiples of
// the same number, so that their windows coincide with those of an untiled run.
#ifndef SL_PIPELINE_TILE_H
#define SL_PIPELINE_TILE_H

#include "base/base.h"

// Tiles along one axis. All lengths in pixels; all but `length` multiples of `multiple`.
typedef struct sl_tile_axis {
    uint32_t multiple;
    uint32_t length; // of the picture
    uint32_t canvas;
    uint32_t tile;
    uint32_t count;
} sl_tile_axis;

// The fewest tiles of at most `limit` pixels that overlap by `overlap` at least, as small as that
// number of tiles allows. overlap < limit, unless one tile holds the canvas.
void sl_tile_axis_new(uint32_t length, uint32_t canvas, uint32_t multiple, uint32_t limit,
                      uint32_t overlap, sl_tile_axis *out);
uint32_t sl_tile_origin(const sl_tile_axis *axis, uint32_t index);

// The share of tile `index` in each of its pixels: linear ramps over the inner quarter of each
// overlap, 0 beyond them. The shares of all tiles sum to 1. weights: [axis->tile].
void sl_tile_weights(const sl_tile_axis *axis, uint32_t index, float *weights);

// The pixel of [0, length) that position i >= 0 shows, reflecting at both ends as often as needed
// and without repeating the edge.
static inline uint32_t sl_reflect(uint64_t i, uint32_t length)
{
    if (i < length)
        return (uint32_t)i;
    if (length == 1)
        return 0;
    uint64_t period = 2 * ((uint64_t)length - 1);
    i %= period;
    return (uint32_t)(i < length ? i : period - i);
}

#endif
