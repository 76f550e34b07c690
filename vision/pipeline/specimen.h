// SPDX-License-Identifier: MIT
// pipeline/specimen.h: a small network with seeded weights and a picture for it, to be computed by
// two backends that must agree: every op that a network uses, on maps of odd sizes.
#ifndef SL_PIPELINE_SPECIMEN_H
#define SL_PIPELINE_SPECIMEN_H

#include "graph/graph.h"

#define SL_SPECIMEN_OUTPUTS 15

// Of the choice of windows. It lies in a wide gap between the shares that the windows get, so that
// rounding does not decide what is kept.
#define SL_SPECIMEN_THRESHOLD 0.556f

typedef struct sl_specimen {
    sl_graph *graph;
    sl_arena weights;
    sl_value image, extent, rows; // the inputs
    float *picture;               // what goes into image
    float sides[2];               // into extent
    const float *numbers;         // into rows
    // In the order of their computation: where the first one is wrong, the ones before were right.
    // f32, but for the maps of kept windows (u8).
    struct {
        sl_value value;
        const char *what; // "the first prediction"
        bool needs_f32;   // rounding to f16 may change an order
    } output[SL_SPECIMEN_OUTPUTS];
} sl_specimen;

// A specimen that is all zeros may be freed.
sl_status sl_specimen_new(sl_ctx *ctx, sl_specimen *out);
void sl_specimen_free(sl_specimen *specimen);

#endif
