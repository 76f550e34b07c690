// SPDX-License-Identifier: MIT
// cpu/simd/soft.c: what attention over a whole map does between its matrix products: lengths of
// rows, Gaussian kernels, and a softmax that goes over its columns block by block.
#include "cpu/simd/math.h"
#include "cpu/simd/simd.h"

#include <math.h>

void SL_LEVEL(sl_squares_run)(const float *x, size_t ld, size_t rows, size_t channels, float scale,
                              float *out)
{
    size_t whole = channels / VL * VL, rest = channels - whole;
    for (size_t r = 0; r < rows; r++, x += ld) {
        vf sum = { 0 };
        for (size_t c = 0; c < whole; c += VL)
            sum += vf_load(x + c) * vf_load(x + c);
        if (rest) {
            vf last = vf_load_part(x + whole, rest);
            sum += last * last;
        }
        out[r] = scale * vf_sum(sum);
    }
}

// e^(-|q - k|^2 / 2) from their product and half of each one's square. Of long rows that are alike
// only the rounding of these is left, which must not pass for a distance below 0.
SL_INLINE vf gaussian(vf product, vf scale, vf row, vf column)
{
    return vf_exp(vf_min(vf_set(0.0f), product * scale - row - column)); // NaN passes
}

void SL_LEVEL(sl_gaussian_run)(const sl_gaussian *g)
{
    size_t whole = g->columns / VL * VL, rest = g->columns - whole;
    vf scale = vf_set(g->scale);
    for (size_t r = 0; r < g->rows; r++) {
        float *x = g->x + r * g->ld;
        vf row = vf_set(g->row[r]);
        for (size_t c = 0; c < whole; c += VL)
            vf_store(x + c, gaussian(vf_load(x + c), scale, row, vf_load(g->column + c)));
        if (rest) {
            vf column = vf_load_part(g->column + whole, rest);
            vf last = gaussian(vf_load_part(x + whole, rest), scale, row, column);
            vf_store_part(x + whole, last, rest);
        }
    }
}

static float largest(const float *x, size_t count)
{
    size_t whole = count / VL * VL;
    vf most = vf_set(SL_SOFTEN_START);
    for (size_t c = 0; c < whole; c += VL)
        most = vf_max(vf_load(x + c), most);
    float top = vf_largest(most);
    for (size_t c = whole; c < count; c++)
        top = x[c] > top ? x[c] : top;
    return top;
}

static void multiply_row(float *x, size_t count, float factor)
{
    size_t whole = count / VL * VL;
    for (size_t c = 0; c < whole; c += VL)
        vf_store(x + c, vf_load(x + c) * vf_set(factor));
    for (size_t c = whole; c < count; c++)
        x[c] *= factor;
}

// x = exp(scale * x - top); the sum.
static float exponents(float *x, size_t count, float scale, float top)
{
    size_t whole = count / VL * VL, rest = count - whole;
    vf sum = { 0 };
    for (size_t c = 0; c < whole; c += VL) {
        vf e = vf_exp(vf_load(x + c) * vf_set(scale) - vf_set(top));
        vf_store(x + c, e);
        sum += e;
    }
    if (rest) {
        vf e = vf_exp(vf_load_part(x + whole, rest) * vf_set(scale) - vf_set(top));
        vf_store_part(x + whole, e, rest);
        sum += vf_first(e, rest);
    }
    return vf_sum(sum);
}

void SL_LEVEL(sl_soften_run)(const sl_soften *s)
{
    for (size_t r = 0; r < s->rows; r++) {
        float *x = s->x + r * s->ld, before = s->top[r];
        float top = s->scale * largest(x, s->columns);
        if (top > before) {
            float shrink = expf(before - top);
            s->top[r] = top;
            s->sum[r] *= shrink;
            multiply_row(s->out + r * s->ldo, s->channels, shrink);
        }
        s->sum[r] += exponents(x, s->columns, s->scale, s->top[r]);
    }
}
