// SPDX-License-Identifier: MIT
// cpu/simd/above.c: the few numbers above a bound, out of very many.
#include "cpu/simd/simd.h"
#include "cpu/simd/vec.h"

#define GROUP 4 // vectors that are looked at together: most have nothing in them

static size_t note(const float *x, size_t first, size_t end, float bound, uint32_t *places,
                   size_t *odd)
{
    size_t found = 0;
    for (size_t i = first; i < end; i++) {
        places[found] = (uint32_t)i;
        found += x[i] > bound;
        *odd += !(x[i] - x[i] == 0.0f);
    }
    return found;
}

size_t SL_LEVEL(sl_above_run)(const float *x, size_t count, float bound, uint32_t *places,
                              size_t *odd)
{
    size_t found = 0, step = GROUP * VL, at = 0;
    vf least = vf_set(bound), zero = vf_set(0.0f);
    for (; at + step <= count; at += step) {
        vi any = vi_set(0);
        SL_UNROLL
        for (size_t v = 0; v < GROUP; v++) {
            vf y = vf_load(x + at + v * VL);
            any |= (y > least) | (y - y != zero); // the second: NaN or infinite
        }
        if (vi_any(any))
            found += note(x, at, at + step, bound, places + found, odd);
    }
    return found + note(x, at, count, bound, places + found, odd);
}
