// SPDX-License-Identifier: MIT
// pipeline/composite.h: a picture cut into tiles for the network, and put together again from it.
#ifndef SL_PIPELINE_COMPOSITE_H
#define SL_PIPELINE_COMPOSITE_H

#include "image/image.h"
#include "pipeline/coverage.h"
#include "pipeline/tile.h"

// Changes are summed in floats for one row of tiles at a time, so that memory grows with the
// picture's width only. Pixels whose change is exactly 0 are copied, never computed.
// A view of a tile is as it is, mirrored (1), upside down (2), or both (3); what the network makes
// of all of them is turned back and averaged.
typedef struct sl_composite {
    sl_ctx *ctx;
    const sl_image *image;
    sl_image *out; // of the caller
    sl_tile_axis x, y;
    unsigned views;               // of each tile
    float *input;                 // [y.tile, x.tile, 3], 0..1: of the current view
    float *inputs[2];             // of views that are begun, by turns; the second one if overlapped
    float *result;                // the same from the network
    float *change;                // [min(y.tile, height), width, 3]: result - input, shared out
    float *heat;                  // [height, width] or NULL
    float *weights_x, *weights_y; // of the current tile
    uint32_t *columns;            // of the picture, by column of the current view
    uint32_t left, top;           // of the current tile
    bool is_mirrored, is_upside_down;
    const sl_coverage *coverage; // while blending
    uint32_t first_row, row_end; // while emitting
    float unit[256];             // of 8-bit samples
    float share[256];            // of the change, by ramp value
} sl_composite;

// A composite that is all zeros may be freed.
sl_status sl_composite_new(sl_ctx *ctx, const sl_image *image, const sl_tile_axis *x,
                           const sl_tile_axis *y, unsigned views, bool heat, sl_image *out,
                           sl_composite *c);
void sl_composite_free(sl_composite *c);

// Steps are the views of the tiles, tiles going by rows: begin fills `input`, the caller makes
// `result` (only where the coverage is not empty) and coverage, end blends it. Overlapped, a step
// may be begun before the one before it is ended.
size_t sl_composite_steps(const sl_composite *c);
sl_status sl_composite_overlap(sl_composite *c);
void sl_composite_begin(sl_composite *c, size_t step);
void sl_composite_end(sl_composite *c, size_t step, const sl_coverage *coverage);

#endif
