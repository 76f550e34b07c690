// SPDX-License-Identifier: MIT
// cpu/simd/shared_conv.c: a convolution whose channels share one kernel. A block of neighbouring
// pixels is kept in registers while every tap, spread over a vector, meets the pixels beside them.
#include "cpu/simd/simd.h"

// Pixels and vectors of a block: sums enough to hide a multiply-add's latency.
#if VECTOR_REGISTERS == 32
#define PIXELS 8
#else
#define PIXELS 4
#endif
#define VECTORS 2

// `pixels` outputs from (row, column) on, `vectors` vectors of channels from `channel` on.
SL_INLINE void convolve(const sl_shared_conv *c, size_t row, size_t column, size_t channel,
                        size_t pixels, size_t vectors)
{
    vf acc[PIXELS][VECTORS] = { 0 };
    const float *tap = c->taps;
    size_t step = c->x_pixel;
    for (size_t i = 0; i < c->k; i++) {
        const float *x = c->x + (row + i) * c->x_row + column * step + channel;
        for (size_t j = 0; j < c->k; j++, x += step) {
            vf t = vf_set(*tap++);
            SL_UNROLL
            for (size_t p = 0; p < pixels; p++) {
                SL_UNROLL
                for (size_t v = 0; v < vectors; v++)
                    acc[p][v] += t * vf_load(x + p * step + v * VL);
            }
        }
    }
    float *y = c->y + row * c->y_row + column * c->y_pixel + channel;
    SL_UNROLL
    for (size_t p = 0; p < pixels; p++) {
        SL_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            size_t at = channel + v * VL;
            if (at + VL <= c->channels)
                vf_store(y + p * c->y_pixel + v * VL, acc[p][v]);
            else
                vf_store_part(y + p * c->y_pixel + v * VL, acc[p][v], c->channels - at);
        }
    }
}

// A row, in blocks of which the last may overlap the one before it.
SL_INLINE void convolve_row(const sl_shared_conv *c, size_t row, size_t channel, size_t vectors)
{
    size_t column = 0;
    for (; column + PIXELS <= c->columns; column += PIXELS)
        convolve(c, row, column, channel, PIXELS, vectors);
    if (column < c->columns && c->columns >= PIXELS)
        convolve(c, row, c->columns - PIXELS, channel, PIXELS, vectors);
    for (; column < c->columns && c->columns < PIXELS; column++)
        convolve(c, row, column, channel, 1, vectors);
}

void SL_LEVEL(sl_shared_conv_run)(const sl_shared_conv *c)
{
    size_t all = (c->channels + VL - 1) / VL * VL;
    for (size_t row = 0; row < c->rows; row++) {
        size_t channel = 0;
        for (; channel + VECTORS * VL <= all; channel += VECTORS * VL)
            convolve_row(c, row, channel, VECTORS);
        if (channel < all)
            convolve_row(c, row, channel, 1);
    }
}
