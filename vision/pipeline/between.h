// SPDX-License-Identifier: MIT
// pipeline/between.h: what lies between the middles of cells along one axis, by straight lines.
#ifndef SL_PIPELINE_BETWEEN_H
#define SL_PIPELINE_BETWEEN_H

#include <stddef.h>
#include <stdint.h>

// Of `count` cells of `cell` pixels each: the two whose middles a pixel lies between, and the
// second one's share. Beyond the outermost middles both are the same cell.
typedef struct sl_between {
    size_t first, second;
    float share;
} sl_between;

static inline sl_between sl_between_cells(size_t pixel, uint32_t cell, uint32_t count)
{
    float at = ((float)pixel + 0.5f) / (float)cell - 0.5f;
    if (at <= 0.0f)
        return (sl_between) { 0, 0, 0.0f };
    size_t first = (size_t)at, last = count - 1;
    if (first >= last)
        return (sl_between) { last, last, 0.0f };
    return (sl_between) { first, first + 1, at - (float)first };
}

static inline float sl_mix(float a, float b, float share)
{
    return a + share * (b - a);
}

#endif
