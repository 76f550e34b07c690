// SPDX-License-Identifier: MIT
// pipeline/looks.h: what a picture changes by when it is looked at in several sizes, joined.
//
// A network knows blur of some tens of pixels, so the size at which a picture should be looked at
// depends on how far things moved in it. Of an estimate that is the mean of what is possible, the
// square by which it moves a pixel is the error that it takes away; so the looks that change most
// are those to go by. Measured on training photographs, see tools/train/LOG.md.
#ifndef SL_PIPELINE_LOOKS_H
#define SL_PIPELINE_LOOKS_H

#include "pipeline/shrink.h"

#define SL_LOOKS_MOST 5 // 16, 8, 4, 2 and 1 times smaller

typedef struct sl_look {
    uint32_t factor;        // how many times smaller
    const sl_image *before; // 16 bits without alpha; the picture itself where factor is 1
    sl_image *after;
    float *heat; // [height, width] of these, or NULL
} sl_look;

// The factors for a picture, coarsest first, each half the one before, the last 1; how many.
size_t sl_looks_choose(uint32_t width, uint32_t height, uint32_t factor[SL_LOOKS_MOST]);

// How much each look changes, by cells of the finest of them.
typedef struct sl_looks {
    sl_ctx *ctx;
    sl_look look[SL_LOOKS_MOST]; // coarsest first, each half the factor of the one before
    size_t count;
    uint32_t columns, rows;       // of cells
    float *energy[SL_LOOKS_MOST]; // [rows, columns]: mean square of the change
    double mean[SL_LOOKS_MOST];   // of the whole picture
} sl_looks;

// After a second look or one more was taken, which is the finest now: measures it and the one
// before it. SL_ERR_NOMEM.
sl_status sl_looks_measure(sl_looks *looks);

// Whether finer looks can be left out: the last one saw what the one before it saw, and less of it.
bool sl_looks_are_enough(const sl_looks *looks);

// After that: puts what all of them say into the finest one's `after` and, where they have it,
// `heat`: the sum of the changes, each by its share of the squared energies around. Where none
// changes anything it stays as it was, bit for bit. SL_ERR_NOMEM.
sl_status sl_looks_join(sl_looks *looks);

void sl_looks_free(sl_looks *looks); // the looks themselves stay the caller's

#endif
