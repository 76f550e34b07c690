// SPDX-License-Identifier: MIT
// pipeline/shape.h: which canvas serves a picture within a memory budget.
#ifndef SL_PIPELINE_SHAPE_H
#define SL_PIPELINE_SHAPE_H

#include "pipeline/network.h"
#include "pipeline/tile.h"

#define SL_DEFAULT_BUDGET ((uint64_t)512 << 20)
#define SL_TILE_OVERLAP 128 // pixels that neighbouring tiles share at least, where memory allows

typedef struct sl_shape_request {
    const sl_model *model;
    const char *device;
    sl_lmd_build build; // sides are filled in here
    uint64_t budget_bytes;
    uint32_t tile;          // side asked for; 0: as large as the budget allows
    uint32_t width, height; // of the picture
} sl_shape_request;

// One tile where the whole picture fits, else the largest square that does. The answer depends on
// nothing but the request, so a picture gives the same result alone and in a batch.
// SL_ERR_LIMIT: not even the smallest tile fits.
sl_status sl_shape_choose(sl_ctx *ctx, const sl_shape_request *request, sl_tile_axis *x,
                          sl_tile_axis *y);

#endif
