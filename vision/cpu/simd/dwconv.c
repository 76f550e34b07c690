// SPDX-License-Identifier: MIT
// cpu/simd/dwconv.c: depthwise 3x3 convolution inside one window. A vector holds VL channels of one
// pixel; it slides along a row of the window with the nine pixels that it needs in registers.
#include "cpu/simd/math.h"
#include "cpu/simd/simd.h"

typedef struct column {
    vf above, here, below;
} column;

SL_INLINE vf load_lanes(const float *p, size_t lanes)
{
    return lanes == VL ? vf_load(p) : vf_load_part(p, lanes);
}

// Row or column -1 is 1, and `window` is window - 2.
SL_INLINE size_t reflected(size_t i, size_t window)
{
    return i == SIZE_MAX ? 1 : i == window ? window - 2 : i;
}

// The pixels of row r and its neighbours in column `at`, of `lanes` channels from `channel` on.
SL_INLINE column load_column(const sl_dwconv *d, const float *const row[3], size_t at, size_t lanes)
{
    size_t offset = at * d->ldx;
    return (column) { load_lanes(row[0] + offset, lanes), load_lanes(row[1] + offset, lanes),
                      load_lanes(row[2] + offset, lanes) };
}

// `lanes` channels from `channel` on: all rows and columns of the window.
SL_INLINE void convolve(const sl_dwconv *d, size_t channel, size_t lanes, sl_act act)
{
    size_t w = d->window;
    vf t[9], bias = load_lanes(d->bias + channel, lanes);
    SL_UNROLL
    for (size_t i = 0; i < 9; i++)
        t[i] = load_lanes(d->weight + i * d->channels + channel, lanes);
    for (size_t r = 0; r < w; r++) {
        const float *x = d->x + channel;
        const float *row[3] = { x + reflected(r - 1, w) * w * d->ldx, x + r * w * d->ldx,
                                x + reflected(r + 1, w) * w * d->ldx };
        float *y = d->y + r * w * d->ldy + channel;
        column left = load_column(d, row, 1, lanes), middle = load_column(d, row, 0, lanes);
        for (size_t c = 0; c < w; c++, y += d->ldy) {
            column right = load_column(d, row, reflected(c + 1, w), lanes);
            // Three sums side by side: one chain of nine would wait for itself.
            vf above = bias + t[0] * left.above + t[1] * middle.above + t[2] * right.above;
            vf here = t[3] * left.here + t[4] * middle.here + t[5] * right.here;
            vf below = t[6] * left.below + t[7] * middle.below + t[8] * right.below;
            vf sum = vf_activate(above + here + below, act, d->slope);
            if (lanes == VL)
                vf_store(y, sum);
            else
                vf_store_part(y, sum, lanes);
            left = middle;
            middle = right;
        }
    }
}

SL_INLINE void convolve_all(const sl_dwconv *d, sl_act act)
{
    size_t channel = 0;
    for (; channel + VL <= d->channels; channel += VL)
        convolve(d, channel, VL, act);
    if (channel < d->channels)
        convolve(d, channel, d->channels - channel, act);
}

void SL_LEVEL(sl_dwconv_run)(const sl_dwconv *d)
{
    if (d->act == SL_ACT_GELU) // the one that networks use: no choice inside the loop
        convolve_all(d, SL_ACT_GELU);
    else
        convolve_all(d, d->act);
}
