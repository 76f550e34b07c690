// SPDX-License-Identifier: MIT
// pipeline/shape.h: which canvas serves a picture within a memory budget.
#ifndef SL_PIPELINE_SHAPE_H
#define SL_PIPELINE_SHAPE_H

#include "pipeline/network.h"
#include "pipeline/tile.h"

#define SL_DEFAULT_BUDGET ((uint64_t)512 << 20)

// Pixels that neighbouring tiles share at least, where memory allows. Measured with the early
// lmd-vit-small on a 1536 x 1472 photograph: with every window kept, what the border of a tile
// changes stays under 0.5 / 255 from 48 pixels inwards, where the ramp begins, and is nothing from
// 120. Pruned tiles are less alike: the predictors' mean over the whole canvas decides 0 to 15 % of
// a layer's windows otherwise in a tile of 512, 0 to 7 % in one of 1024.
#define SL_TILE_OVERLAP 128

typedef struct sl_shape_request {
    const sl_model *model;
    const sl_device *device;
    sl_lmd_build build; // sides are filled in here
    uint64_t budget_bytes;
    uint32_t tile;          // side asked for; 0: as large as the budget allows
    uint32_t largest;       // side that must not be exceeded, where two units fit; 0: none
    uint32_t width, height; // of the picture
} sl_shape_request;

// One tile where the whole picture fits, else the largest square that does. The answer depends on
// nothing but the request, so a picture gives the same result alone and in a batch.
// SL_ERR_LIMIT: not even the smallest tile fits.
sl_status sl_shape_choose(sl_ctx *ctx, const sl_shape_request *request, sl_tile_axis *x,
                          sl_tile_axis *y);

#endif
