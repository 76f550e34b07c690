// SPDX-License-Identifier: MIT
// pipeline/coverage.h: which pixels of a canvas the network computed, and how blurred its
// predictors took them to be.
#ifndef SL_PIPELINE_COVERAGE_H
#define SL_PIPELINE_COVERAGE_H

#include "pipeline/network.h"

#define SL_RAMP_PIXELS 12 // over which a change fades in from the edge of what was computed

// Windows of all layers, shifted or not, are unions of cells.
typedef struct sl_coverage {
    uint32_t cell;          // side of a cell in pixels
    uint32_t rows, columns; // of cells
    uint32_t height, width; // of the canvas
    bool is_empty, is_full; // no cell computed, all cells computed
    uint8_t *computed;      // [rows, columns]: 1 where some window of some block was computed
    float *heat;            // [rows, columns]: 0..1, mean over all predictors
    uint8_t *ramp;          // [height, width]: 0 outside, else steps from there, 1..SL_RAMP_MAX
    uint8_t *keep;          // one map as read
    float *scores;
    sl_pool *pool;
    uint8_t *bands; // of the ramp, one for each of the pool's threads
} sl_coverage;

#define SL_RAMP_STEP 3 // steps of the distance transform in a pixel
#define SL_RAMP_MAX (SL_RAMP_PIXELS * SL_RAMP_STEP + 2)

// The share of the network's change at a pixel with that ramp value.
static inline float sl_ramp_share(uint8_t ramp)
{
    float share = ((float)ramp - 0.5f * SL_RAMP_STEP) / (SL_RAMP_PIXELS * SL_RAMP_STEP);
    return ramp == 0 ? 0.0f : share > 1.0f ? 1.0f : share;
}

// A coverage that is all zeros may be freed.
sl_status sl_coverage_new(const sl_network *network, bool heat, sl_coverage *out);
void sl_coverage_free(sl_coverage *coverage);

// After a run: computed, is_empty, is_full, ramp; heat where the network has predictors and `heat`
// was asked for. Adds the run's windows to *count.
sl_status sl_coverage_read(sl_coverage *coverage, const sl_network *network,
                           sl_window_count *count);

#endif
