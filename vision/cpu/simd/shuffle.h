// SPDX-License-Identifier: MIT
// cpu/simd/shuffle.h: numbers that change their lanes: transposed panels, and reductions of several
// rows at once.
#ifndef SL_CPU_SIMD_SHUFFLE_H
#define SL_CPU_SIMD_SHUFFLE_H

#include "cpu/simd/vec.h"

// ---- shuffles inside groups of four lanes; i in 0..3 is a lane of a, 4..7 one of b

#define LANE(i, g) ((i) < 4 ? (i) + 4 * (g) : VL + (i)-4 + 4 * (g))
#define LANES(i, j, k, l, g) LANE(i, g), LANE(j, g), LANE(k, g), LANE(l, g)
#if VL == 16
#define SHUFFLE(a, b, i, j, k, l)                                                                  \
    __builtin_shufflevector(a, b, LANES(i, j, k, l, 0), LANES(i, j, k, l, 1),                      \
                            LANES(i, j, k, l, 2), LANES(i, j, k, l, 3))
#elif VL == 8
#define SHUFFLE(a, b, i, j, k, l)                                                                  \
    __builtin_shufflevector(a, b, LANES(i, j, k, l, 0), LANES(i, j, k, l, 1))
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, LANES(i, j, k, l, 0))
#endif

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

// Four floats from each of VL/4 places, `step` floats apart.
SL_INLINE vf load_quads(const float *p, size_t step)
{
#if VL == 4
    (void)step;
    return vf_load(p);
#else
    quad a = *(const quad *)p, b = *(const quad *)(p + step);
#if VL == 8
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    quad c = *(const quad *)(p + 2 * step), d = *(const quad *)(p + 3 * step);
    typedef float eight __attribute__((vector_size(32)));
    eight ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
    eight cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
#endif
}

// panel[c][r] = x[r][c] for r < n, c < d; rows of the panel are np floats, zeros behind n.
static inline void transpose(const float *x, size_t ld, size_t n, size_t np, size_t d, float *panel)
{
    size_t rows = n / VL * VL, columns = d / 4 * 4;
    for (size_t r = 0; r < rows; r += VL)
        for (size_t c = 0; c < columns; c += 4) {
            vf t[4];
            SL_UNROLL
            for (size_t i = 0; i < 4; i++)
                t[i] = load_quads(x + (r + i) * ld + c, 4 * ld);
            vf a = SHUFFLE(t[0], t[1], 0, 4, 1, 5), b = SHUFFLE(t[2], t[3], 0, 4, 1, 5);
            vf e = SHUFFLE(t[0], t[1], 2, 6, 3, 7), f = SHUFFLE(t[2], t[3], 2, 6, 3, 7);
            float *out = panel + c * np + r;
            vf_store(out, SHUFFLE(a, b, 0, 1, 4, 5));
            vf_store(out + np, SHUFFLE(a, b, 2, 3, 6, 7));
            vf_store(out + 2 * np, SHUFFLE(e, f, 0, 1, 4, 5));
            vf_store(out + 3 * np, SHUFFLE(e, f, 2, 3, 6, 7));
        }
    for (size_t c = 0; c < d; c++)
        for (size_t r = c < columns ? rows : 0; r < np; r++)
            panel[c * np + r] = r < n ? x[r * ld + c] : 0.0f;
}

// One number from each of four vectors: {a, b, c, d} in every group of four lanes.
#define REDUCE(name, op)                                                                           \
    SL_INLINE vf name(vf a, vf b, vf c, vf d)                                                      \
    {                                                                                              \
        vf ab = op(SHUFFLE(a, b, 0, 4, 1, 5), SHUFFLE(a, b, 2, 6, 3, 7));                          \
        vf cd = op(SHUFFLE(c, d, 0, 4, 1, 5), SHUFFLE(c, d, 2, 6, 3, 7));                          \
        vf all = op(SHUFFLE(ab, cd, 0, 1, 4, 5), SHUFFLE(ab, cd, 2, 3, 6, 7));                     \
        return ACROSS(all, op);                                                                    \
    }
#if VL == 16
#define ACROSS(x, op) across_quads(op, x)
#define across_quads(op, x)                                                                        \
    (x = op(x,                                                                                     \
            __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)),  \
     op(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)))
#elif VL == 8
#define ACROSS(x, op) op(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3))
#else
#define ACROSS(x, op) (x)
#endif

SL_INLINE vf vf_add(vf a, vf b)
{
    return a + b;
}

REDUCE(largest_of_rows, vf_max)
REDUCE(sum_of_rows, vf_add)

#endif
